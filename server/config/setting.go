package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"sync"
)

// Setting is what the tags of one field say.
type Setting struct {
	Key     string
	Env     string
	Flag    string // without the dashes
	Default string
	Help    string
	Enum    []string
	Min     string
	Max     string
	Reload  bool
	Secret  bool
	InFile  bool
	Stored  bool // may be kept in the database

	kind  reflect.Type
	rule  string // the tag check
	index []int  // of the field, for reflect
}

const envPrefix = "QUCKCHAT_"

// Settings returns all settings, in the order of the file. The slice is shared: do not change it.
func Settings() []Setting { return settings() }

var settings = sync.OnceValue(func() []Setting { return settingsOf(reflect.TypeFor[Config](), "", nil) })

// settingsOf reads the tags of a struct; those of its sections come after its own.
func settingsOf(t reflect.Type, prefix string, index []int) []Setting {
	var own, sections []Setting
	for f := range t.Fields() {
		key, at := prefix+f.Tag.Get("key"), append(index[:len(index):len(index)], f.Index...)
		if f.Type.Kind() == reflect.Struct {
			sections = append(sections, settingsOf(f.Type, key+".", at)...)
			continue
		}
		s := Setting{
			Key: key, Env: envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_")), Flag: strings.NewReplacer(".", "-", "_", "-").Replace(key),
			Default: f.Tag.Get("default"), Help: f.Tag.Get("help"), Min: f.Tag.Get("min"), Max: f.Tag.Get("max"),
			Reload: f.Tag.Get("reload") == "true", Secret: f.Tag.Get("secret") == "true",
			InFile: f.Tag.Get("file") != "false",
			kind:   f.Type, rule: f.Tag.Get("check"), index: at,
		}
		s.Stored = s.Reload && f.Tag.Get("stored") != "false"
		if enum := f.Tag.Get("enum"); enum != "" {
			s.Enum = strings.Split(enum, ",")
		}
		own = append(own, s)
	}
	return append(own, sections...)
}

// lookup returns the setting of a key, or an error that names the one that may have been meant.
func lookup(all []Setting, key string) (*Setting, error) {
	keys := make([]string, len(all))
	for i := range all {
		if all[i].Key == key {
			return &all[i], nil
		}
		keys[i] = all[i].Key
	}
	return nil, fmt.Errorf("unknown key %s%s", key, suggest(key, keys))
}

// Lookup returns the setting of a key; the error of an unknown key names a similar one.
func Lookup(key string) (Setting, error) {
	s, err := lookup(Settings(), key)
	if err != nil {
		return Setting{}, err
	}
	return *s, nil
}

// Check returns why a value cannot be stored in the database under a key, nil when it can.
func Check(key, value string) error {
	s, err := lookup(Settings(), key)
	if err != nil {
		return err
	}
	if !s.Stored {
		return fmt.Errorf("%s cannot be stored: use --%s, %s or the file", key, s.Flag, s.Env)
	}
	_, err = s.value(value, nil)
	return err
}

// value reads a text of some layer, following the reference of a secret, and checks it. No getenv means no references:
// whoever administers the server through the network must not read its files and variables by naming them.
func (s *Setting) value(text string, getenv func(string) string) (reflect.Value, error) {
	if s.Secret {
		var err error
		if text, err = dereference(text, getenv); err != nil {
			return reflect.Value{}, fmt.Errorf("%s: %w", s.Key, err)
		}
	}
	v, err := parse(s.kind, text)
	if err != nil {
		return v, s.wrong(text, s.advice())
	}
	return v, s.check(v)
}

func dereference(text string, getenv func(string) string) (string, error) {
	path, inFile := strings.CutPrefix(text, "file:")
	name, inEnv := strings.CutPrefix(text, "env:")
	switch {
	case (inFile || inEnv) && getenv == nil:
		return "", errors.New("a stored secret cannot be a reference: write the secret, or the reference in the file")
	case inFile:
		b, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("read the secret: %w", err)
		}
		return strings.TrimRight(string(b), "\r\n"), nil
	case inEnv && getenv(name) == "":
		return "", fmt.Errorf("read the secret: the variable %s is not set", name)
	case inEnv:
		return getenv(name), nil
	}
	return text, nil
}

// wrong is the error of a value; the value of a secret is not in it.
func (s *Setting) wrong(text, advice string) error {
	if s.Secret {
		return fmt.Errorf("%s does not fit: write %s", s.Key, advice)
	}
	return fmt.Errorf("%s is %q: write %s", s.Key, text, advice)
}

// show returns a value as an operator may see it.
func (s *Setting) show(v reflect.Value) string {
	text := format(v.Interface())
	if s.Secret && text != "" {
		return "(redacted)"
	}
	return text
}

// check returns why a value does not fit the tags.
func (s *Setting) check(v reflect.Value) error {
	value := v.Interface()
	if len(s.Enum) > 0 {
		if value == "" && s.Default == "" {
			return nil
		}
		for _, allowed := range s.Enum {
			if allowed == value {
				return nil
			}
		}
		return s.wrong(format(value), s.advice())
	}
	if n, ok := number(value); ok {
		least, most := s.bound(s.Min), s.bound(s.Max)
		if least != nil && n < *least || most != nil && n > *most {
			return s.wrong(format(value), s.advice())
		}
		return nil
	}
	items, isList := value.([]string)
	if text, ok := value.(string); ok && (text != "" || s.Default != "") {
		items = []string{text}
	}
	var errs []error
	for _, item := range items {
		if advice := s.adviseItem(item, isList); advice != "" {
			errs = append(errs, s.wrong(item, advice))
		}
	}
	return errors.Join(errs...)
}

// bound returns a limit as a number, nil when there is none.
func (s *Setting) bound(text string) *int64 {
	if text == "" {
		return nil
	}
	v, err := parse(s.kind, text)
	if err != nil {
		panic("config: " + s.Key + " has a bound of another kind: " + text)
	}
	n, _ := number(v.Interface())
	return &n
}

// adviseItem returns what to write instead of an item, empty when it can stay.
func (s *Setting) adviseItem(item string, isList bool) string {
	switch s.rule {
	case "address":
		return adviseAddress(item)
	case "address or off":
		if advice := adviseAddress(item); advice != "" && item != "" && item != off {
			return advice + ", or off"
		}
		return ""
	case "ip":
		if _, err := netip.ParseAddr(item); err != nil {
			return "an address, such as 203.0.113.7 or 2001:db8::7"
		}
		return ""
	case "ports":
		if _, _, ok := portRange(item); !ok {
			return "two ports, the lower one first, such as 49152-65535"
		}
		return ""
	case "origin":
		return adviseOrigin(item)
	case "network":
		return adviseNetwork(item)
	}
	if item == "" && (isList || s.Default != "") {
		return "something, or leave it out"
	}
	return ""
}

// suggest returns ", did you mean X?" for the most similar name, nothing when none is similar.
func suggest(name string, known []string) string {
	best, least := "", 1+min(3, len(name)/3)
	for _, k := range known {
		if k[strings.LastIndex(k, ".")+1:] == name[strings.LastIndex(name, ".")+1:] {
			return ", did you mean " + k + "?" // right name, wrong section
		}
		if d := distance(name, k); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return ", did you mean " + best + "?"
}

// distance counts the bytes to insert, delete or replace to make b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
