package media

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/singleflight"

	"github.com/quckchat/quckchat/server/config"
	"github.com/quckchat/quckchat/server/outbound"
	"github.com/quckchat/quckchat/storage"
)

// gifs is what the server needs to ask a provider of GIFs. Nothing of the one who asks is passed on: each request is made anew,
// of the words, the page and the key of the server.
type gifs struct {
	provider string // "" when there is none
	base     string // of its API
	own      string // the origin that an administrator has named in place of it
	apiKey   string
	rating   string
	api      *outbound.Client
	files    *outbound.Client
	cache    *storage.Cache
	asking   singleflight.Group
	fetching singleflight.Group
	timeout  time.Duration // of a question, the wait for a place included; a picture takes three times as long
	places   chan struct{} // one for each question to the provider that is under way
	pictures chan struct{} // and for each picture: slow ones hold up no questions

	pulse pulse

	mu     sync.Mutex
	keys   []string // of the answers in the cache, a ring
	next   int
	warned time.Time
}

// GIFProblem is what the provider last failed with.
type GIFProblem struct {
	Text string    `json:"text"`
	At   time.Time `json:"at"`
}

// gifQuery is a question to the provider: words, what is popular, or one by its id.
type gifQuery struct {
	class         string // gifs, stickers
	words         string
	trending      bool
	id            string
	limit, offset int
}

const (
	gifAnswerMax = 4 << 20  // bytes
	gifFileMax   = 10 << 20 // bytes
	gifPlaces    = 16       // questions at a time, and so many pictures
	gifKeysMax   = 512      // answers in the cache, which is in memory: at 40 KB each
	gifWarnEvery = time.Minute
)

// newGIFs prepares to ask the provider of the settings. It opens no connection.
func newGIFs(c config.GIFs, cache *storage.Cache) (*gifs, error) {
	g := &gifs{provider: c.Provider, apiKey: c.APIKey, rating: c.Rating, cache: cache, timeout: c.Timeout, places: make(chan struct{}, gifPlaces), pictures: make(chan struct{}, gifPlaces), keys: make([]string, gifKeysMax)}
	if !g.on() {
		return g, nil
	}
	// No redirects: a provider answers where it is asked, and whoever it would send us to is not one.
	g.api = outbound.New(outbound.Options{UserAgent: "QuckChat", Timeout: c.Timeout, MaxBytes: gifAnswerMax, MaxRedirects: -1})
	g.files = outbound.New(outbound.Options{UserAgent: "QuckChat", Timeout: 3 * c.Timeout, MaxBytes: gifFileMax, MaxRedirects: -1})
	g.base = map[string]string{"giphy": "https://api.giphy.com", "tenor": "https://tenor.googleapis.com"}[c.Provider]
	if c.BaseURL == "" {
		return g, nil
	}
	u, err := url.Parse(c.BaseURL)
	if err != nil {
		return nil, errors.New("gifs.base_url is not an origin")
	}
	place := u.Host
	if u.Port() == "" {
		place = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	}
	g.own = strings.ToLower(u.Scheme + "://" + u.Host)
	g.base = g.own
	if g.api, err = g.api.Trusted(place); err == nil {
		g.files, err = g.files.Trusted(place)
	}
	if err != nil {
		return nil, fmt.Errorf("gifs.base_url: %w", err)
	}
	return g, nil
}

func (g *gifs) on() bool { return g.provider != "" }

func (g *gifs) close() {
	if g.on() {
		g.api.Close()
		g.files.Close()
	}
}

// providerError is an answer that cannot be used; it never holds a URL, for the key is in it.
type providerError struct{ text string }

func (e providerError) Error() string { return e.text }

func isProviderError(err error) bool {
	var e providerError
	return errors.As(err, &e) || errors.Is(err, outbound.ErrUnavailable) || errors.Is(err, outbound.ErrForbidden) || errors.Is(err, outbound.ErrTooLarge)
}

// failed notes what the provider failed with, and logs it once a minute.
func (g *gifs) failed(log *slog.Logger, now time.Time, err error) {
	g.pulse.beat(now, err)
	g.mu.Lock()
	warn := now.Sub(g.warned).Abs() > gifWarnEvery
	if warn {
		g.warned = now
	}
	g.mu.Unlock()
	if warn {
		log.Warn("the provider of gifs does not answer", "provider", g.provider, "error", err)
	}
}

// state is the last problem, nil when there was none or the provider has answered since.
func (g *gifs) state() *GIFProblem {
	at, err := g.pulse.failing()
	if err == nil {
		return nil
	}
	return &GIFProblem{err.Error(), at}
}

// key is where the answer to a question is remembered.
func (g *gifs) key(q gifQuery) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %s %s %q %t %s %d %d", g.provider, g.base, g.rating, q.class, q.words, q.trending, q.id, q.limit, q.offset))
	return "gifs:" + hex.EncodeToString(sum[:16])
}

func (g *gifs) remembered(key string, now time.Time, found *gifFound) bool {
	raw, err := g.cache.Get(key)
	var f gifFound
	if err != nil || raw == nil || json.Unmarshal(raw, &f) != nil || f.Until <= now.UnixMilli() {
		return false
	}
	*found = f
	return true
}

// remember keeps an answer, in place of the oldest when there are many. One that cannot be kept is asked for again.
func (g *gifs) remember(key string, found gifFound, life time.Duration) {
	raw, err := json.Marshal(found)
	if err != nil || g.cache.Set(key, raw, life) != nil {
		return
	}
	g.mu.Lock()
	old := g.keys[g.next]
	g.keys[g.next] = key
	g.next = (g.next + 1) % len(g.keys)
	g.mu.Unlock()
	if old != "" && old != key {
		_ = g.cache.Delete(old) // it ends by itself
	}
}

// enter waits for a place, not longer than for an answer: while the provider is slow nobody waits for those before them as well.
func (g *gifs) enter(ctx context.Context, places chan struct{}) (leave func(), err error) {
	timer := time.NewTimer(g.timeout)
	defer timer.Stop()
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-timer.C:
		return nil, providerError{"too slow for how much it is asked"}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ask puts a question to the provider. Errors: those of isProviderError.
func (g *gifs) ask(ctx context.Context, now func() time.Time, q gifQuery) (list []GIF, total int64, err error) {
	leave, err := g.enter(ctx, g.places)
	if err != nil {
		return nil, 0, err
	}
	defer leave()
	if g.provider == "tenor" {
		list, total, err = g.askTenor(ctx, q)
	} else {
		list, total, err = g.askGiphy(ctx, q)
	}
	if err == nil {
		g.pulse.beat(now(), nil)
	}
	return list, total, err
}

// get reads the JSON at a path of the API; found is false when there is nothing.
func (g *gifs) get(ctx context.Context, path string, params url.Values, into any) (found bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.base+path+"?"+params.Encode(), nil)
	if err != nil {
		return false, providerError{"not a URL"}
	}
	req.Header.Set("Accept", "application/json")
	resp, err := g.api.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return false, nil
	default:
		return false, providerError{"status " + strconv.Itoa(resp.StatusCode)}
	}
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return false, err
	}
	if json.Unmarshal(raw, into) != nil {
		return false, providerError{"an answer that is not the JSON of the API"}
	}
	return true, nil
}

// canonical is an address as it is remembered, if it is at a provider, or at what an administrator has named as one. The query
// says who was answered with it, and does not change the picture.
func (g *gifs) canonical(address string) (string, bool) {
	u, err := url.Parse(address)
	if err != nil || len(address) > 2048 || u.User != nil {
		return "", false
	}
	u.Fragment = ""
	if g.own != "" && strings.ToLower(u.Scheme+"://"+u.Host) == g.own {
		return u.String(), true
	}
	if !provided(address) {
		return "", false
	}
	u.Host, u.RawQuery, u.ForceQuery = strings.ToLower(u.Host), "", false
	return u.String(), true
}

// gifSizes is what the sizes are made of, by the names of GIPHY.
var gifSizes = []string{"fixed_height", "fixed_width", "fixed_height_small", "original", "preview_gif"}

// gif makes a GIF of the sizes that the provider has, false when it has none that can be fetched.
func (g *gifs) gif(id, title string, sizes map[string]GIFImage) (GIF, bool) {
	good := map[string]GIFImage{}
	for _, name := range gifSizes {
		size := sizes[name]
		if address, ok := g.canonical(size.URL); ok {
			good[name] = GIFImage{address, size.Width, size.Height}
		}
	}
	if !gifID.MatchString(id) || len(good) == 0 {
		return GIF{}, false
	}
	pick := func(names ...string) GIFImage {
		for _, name := range append(names, gifSizes...) {
			if size, ok := good[name]; ok {
				return size
			}
		}
		return GIFImage{}
	}
	title = plainName(strings.ReplaceAll(title, "/", " "))
	for utf8.RuneCountInString(title) > 200 {
		_, last := utf8.DecodeLastRuneInString(title)
		title = title[:len(title)-last]
	}
	return GIF{ID: id, Title: title, Images: GIFImages{
		FixedHeight: pick("fixed_height"), FixedWidth: pick("fixed_width"), FixedHeightSmall: pick("fixed_height_small"),
		Original: pick("original"), PreviewGIF: pick("preview_gif", "fixed_height_small"),
	}}, true
}

// side is a width or height, which GIPHY writes as text and others as a number. What is neither is not known.
type side string

// UnmarshalJSON never fails: one odd size does not cost the others.
func (s *side) UnmarshalJSON(raw []byte) error {
	n, err := strconv.ParseUint(strings.Trim(string(raw), `"`), 10, 16)
	if *s = ""; err == nil && n > 0 {
		*s = side(strconv.FormatUint(n, 10))
	}
	return nil
}
