package media

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Links makes and checks the capabilities in the addresses of media.
type Links struct {
	key  []byte
	ttl  func() time.Duration
	base func() string
}

// NewLinks makes capabilities with a key, good for at most ttl, in addresses that begin with base; where that is empty they
// are paths.
func NewLinks(key []byte, ttl func() time.Duration, base func() string) *Links {
	return &Links{key, ttl, base}
}

// Link adds a capability to a path: see storage.Link. It is good for between half of the lifetime and all of it, and is
// the same for half of it, so that what somebody has fetched stays in their cache.
func (l *Links) Link(path, scope string, now time.Time) string {
	name, _, ok := parseName(path)
	if !ok {
		return path
	}
	step := max(l.ttl()/2, time.Second)
	until := strconv.FormatInt(now.Truncate(step).Add(2*step).Unix(), 36)
	return l.base() + path + "?s=" + scope + "&e=" + until + "&h=" + l.mac(name, scope, until)
}

// absolute is Link with a host in any case: the one a request was made to where none is configured.
func (l *Links) absolute(path, scope string, now time.Time, host string) string {
	address := l.Link(path, scope, now)
	if strings.HasPrefix(address, "/") {
		return host + address
	}
	return address
}

func (l *Links) mac(name, scope, until string) string {
	h := hmac.New(sha256.New, l.key)
	h.Write([]byte("media\n" + name + "\n" + scope + "\n" + until))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}

// check returns what an address is part of and until when it is good; ok is false when it is not.
func (l *Links) check(name string, query url.Values, now time.Time) (scope string, until time.Time, ok bool) {
	scope, end := query.Get("s"), query.Get("e")
	seconds, err := strconv.ParseInt(end, 36, 64)
	if err != nil || scope == "" || !hmac.Equal([]byte(query.Get("h")), []byte(l.mac(name, scope, end))) {
		return "", until, false
	}
	until = time.Unix(seconds, 0)
	return scope, until, now.Before(until)
}

// The scopes: what media are shown as part of. That of a profile is account.PictureScope.
const (
	conversationScope = "c" // and its id: messages there, and the picture of the group
	ownerScope        = "o" // and the id of the one who uploaded it
)

// ConversationScope is what attachments of messages, and the picture of a group, are shown as part of.
func ConversationScope(id string) string { return conversationScope + id }

var nameForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

// newName makes the name of an upload: 128 bits that nobody can guess.
func newName() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// parseName finds the name of an upload in an address, whatever its host and query, and which rendition is meant: "" is the
// upload itself, otherwise thumb.webp and the like.
func parseName(address string) (name, rendition string, ok bool) {
	u, err := url.Parse(address)
	if err != nil || !strings.HasPrefix(u.Path, "/uploads/") || path.Clean(u.Path) != u.Path {
		return "", "", false
	}
	return parseFile(path.Base(u.Path))
}

// parseFile takes the last part of such an address apart.
func parseFile(file string) (name, rendition string, ok bool) {
	name, rendition, cut := strings.Cut(file, "-")
	if !cut {
		name, _, _ = strings.Cut(file, ".")
		rendition = ""
	}
	return name, rendition, nameForm.MatchString(name)
}

// folders are the kinds in the addresses (contract 1.1).
var folders = map[string]string{classImage: "images", classVideo: "videos", classAudio: "audio", classFile: "files"}

// where is the path of an upload, or of a rendition of it.
func where(kind, name, extension, rendition string) string {
	file := name + extension
	if rendition != "" {
		file = name + "-" + rendition
	}
	return "/uploads/" + folders[kind] + "/" + file
}
