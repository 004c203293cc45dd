package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Bytes is a size, written 512, 100KiB, 10MiB or 1GiB; kB, MB and GB are powers of ten.
type Bytes int64

var units = []struct {
	name string
	size Bytes
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}}

// String spells the size with the largest binary unit that needs no fraction.
func (b Bytes) String() string {
	for _, u := range units[:3] {
		if b != 0 && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// ParseBytes reads a size. A unit may be in either case.
func ParseBytes(text string) (Bytes, error) {
	digits, size := text, Bytes(1)
	for _, u := range units {
		if cut := len(text) - len(u.name); cut >= 0 && strings.EqualFold(text[cut:], u.name) {
			digits, size = strings.TrimSpace(text[:cut]), u.size
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/int64(size) {
		return 0, fmt.Errorf("%q is not a size", text)
	}
	return Bytes(n) * size, nil
}

// parse reads a text as a value of a kind.
func parse(kind reflect.Type, text string) (reflect.Value, error) {
	v := reflect.New(kind)
	text = strings.TrimSpace(text)
	var err error
	switch p := v.Interface().(type) {
	case *string:
		*p = text
	case *bool:
		switch text {
		case "on", "true":
			*p = true
		case "off", "false":
		default:
			err = errors.New("neither on nor off")
		}
	case *int:
		*p, err = strconv.Atoi(text)
	case *time.Duration:
		*p, err = time.ParseDuration(text)
	case *Bytes:
		*p, err = ParseBytes(text)
	case *[]string:
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				*p = append(*p, item)
			}
		}
	default:
		panic("config: a setting cannot be a " + kind.String())
	}
	return v.Elem(), err
}

// format is the inverse of parse.
func format(value any) string {
	switch v := value.(type) {
	case bool:
		if v {
			return "on"
		}
		return "off"
	case time.Duration:
		text := v.String()
		for _, zero := range []string{"m0s", "h0m"} {
			if strings.HasSuffix(text, zero) {
				text = text[:len(text)-2]
			}
		}
		return text
	case []string:
		return strings.Join(v, ",")
	}
	return fmt.Sprint(value)
}

// number returns a value that bounds apply to.
func number(value any) (int64, bool) {
	switch v := value.(type) {
	case int:
		return int64(v), true
	case time.Duration:
		return int64(v), true
	case Bytes:
		return int64(v), true
	}
	return 0, false
}

// wants says what may be written, such as "a duration from 1s to 24h"; empty for any text.
func (s *Setting) wants() string {
	if n := len(s.Enum) - 1; n > 0 {
		return strings.Join(s.Enum[:n], ", ") + " or " + s.Enum[n]
	}
	text := ""
	switch reflect.Zero(s.kind).Interface().(type) {
	case bool:
		text = "on or off"
	case int:
		text = "a whole number"
	case time.Duration:
		text = "a duration"
	case Bytes:
		text = "a size"
	case []string:
		text = "a comma-separated list"
	}
	if s.Min != "" {
		text += " from " + s.Min
	}
	if s.Max != "" {
		text += " to " + s.Max
	}
	return text
}

// advice is wants with an example.
func (s *Setting) advice() string {
	if _, ok := number(reflect.Zero(s.kind).Interface()); ok && s.Default != "" {
		return s.wants() + ", such as " + s.Default
	}
	return s.wants()
}

var hostName = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$`)

func isHost(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil || hostName.MatchString(host)
}

func adviseAddress(text string) string {
	host, port, err := net.SplitHostPort(text)
	if err == nil && host != "" && !isHost(strings.ToLower(host)) {
		err = errors.New("no host")
	}
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return "host:port or :port, such as :3000, 127.0.0.1:3000 or [::1]:3000"
	}
	return ""
}

// adviseOrigin wants exactly what a browser sends as Origin, because that is what it will be compared with.
func adviseOrigin(text string) string {
	const example = "scheme, host and port, such as https://chat.example.org or http://192.168.1.5:3000"
	u, err := url.Parse(text)
	if err != nil {
		return example
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if _, err := strconv.ParseUint(port, 10, 16); !isHost(host) || (port != "" && err != nil) || (u.Scheme != "http" && u.Scheme != "https") {
		return example
	}
	exact := u.Scheme + "://" + host
	if strings.Contains(host, ":") {
		exact = u.Scheme + "://[" + host + "]"
	}
	if port != "" && u.Scheme+port != "http80" && u.Scheme+port != "https443" {
		exact += ":" + port
	}
	if text != exact {
		return exact
	}
	return ""
}

func adviseNetwork(text string) string {
	if _, err := netip.ParseAddr(text); err == nil {
		return ""
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return "an address or a network, such as 127.0.0.1 or 10.0.0.0/8"
	case p != p.Masked():
		return p.Masked().String()
	}
	return ""
}
