package turn

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// echoMark stands where the call stands in the username of restricted credentials. No id begins with it.
const echoMark = "!echo"

// Credential lets one person allocate relays until it expires. It is checked by its signature alone: nothing is stored.
type Credential struct {
	Username string
	Password string
	Expires  time.Time
}

// Minter makes credentials. Whoever has the secret of a server can make them for it, in another process too.
type Minter struct {
	Secret []byte
	TTL    time.Duration
	Now    func() time.Time // nil is the system clock
}

// Mint makes a credential for a person, and for one call of theirs unless call is empty. Both are ids: they hold no
// colon and do not begin with an exclamation mark, or what Mint returns opens nothing.
func (m Minter) Mint(user, call string) Credential {
	now := time.Now
	if m.Now != nil {
		now = m.Now
	}
	expires := now().Add(m.TTL).Truncate(time.Second)
	name := strconv.FormatInt(expires.Unix(), 10) + ":" + user
	if call != "" {
		name += ":" + call
	}
	return Credential{Username: name, Password: password(m.Secret, name), Expires: expires}
}

// MintEcho makes a credential whose allocations reach the ports of PermitEcho and nothing else. The user is whom quotas
// and metrics go by.
func (m Minter) MintEcho(user string) Credential { return m.Mint(user, echoMark) }

// Mint makes a credential for this server; see Minter.Mint.
func (s *Server) Mint(user, call string) Credential { return s.minter.Mint(user, call) }

// MintEcho makes a restricted credential for this server; see Minter.MintEcho.
func (s *Server) MintEcho(user string) Credential { return s.minter.MintEcho(user) }

// password is that of the TURN REST API (draft-uberti-behave-turn-rest), which coturn speaks too.
func password(secret []byte, username string) string {
	mac := hmac.New(sha1.New, secret)
	mac.Write([]byte(username))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// identity is what a username says.
type identity struct {
	expires    time.Time
	user, call string
	echo       bool
}

func parseUsername(name string) (id identity, ok bool) {
	parts := strings.Split(name, ":")
	if len(name) > 256 || len(parts) < 2 || len(parts) > 3 || parts[1] == "" || parts[1][0] == '!' {
		return id, false
	}
	at, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil {
		return id, false
	}
	id = identity{expires: time.Unix(at, 0), user: parts[1]}
	if len(parts) == 3 {
		id.call, id.echo = parts[2], parts[2] == echoMark
		if id.call == "" || id.call[0] == '!' && !id.echo {
			return id, false
		}
	}
	return id, true
}

// Doors are the ports at which clients reach the server, each list in the order of preference.
type Doors struct {
	UDP, TCP, TLS []int
}

// ICEServer is one entry of a browser's RTCConfiguration.iceServers.
type ICEServer struct {
	URLs       []string `json:"urls"`
	Username   string   `json:"username,omitempty"`
	Credential string   `json:"credential,omitempty"`
}

// ICEServers is what a client needs to find its own address and relays: host is a name or address of this server as the
// client knows it, an IPv6 address without brackets.
func ICEServers(host string, d Doors, c Credential) []ICEServer {
	if a, err := netip.ParseAddr(host); err == nil && a.Is6() {
		host = "[" + host + "]"
	}
	list := []ICEServer{}
	var relays []string
	for _, port := range d.UDP {
		list = append(list, ICEServer{URLs: []string{"stun:" + host + ":" + strconv.Itoa(port)}})
		relays = append(relays, "turn:"+host+":"+strconv.Itoa(port)+"?transport=udp")
	}
	for _, port := range d.TCP {
		relays = append(relays, "turn:"+host+":"+strconv.Itoa(port)+"?transport=tcp")
	}
	for _, port := range d.TLS {
		relays = append(relays, "turns:"+host+":"+strconv.Itoa(port)+"?transport=tcp")
	}
	if len(relays) > 0 {
		list = append(list, ICEServer{URLs: relays, Username: c.Username, Credential: c.Password})
	}
	return list
}
