package media_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/servertest"
)

// film is a GIF of two pictures.
func film(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	colors := color.Palette{color.Black, color.White}
	a, b := image.NewPaletted(image.Rect(0, 0, 32, 24), colors), image.NewPaletted(image.Rect(0, 0, 32, 24), colors)
	b.SetColorIndex(3, 3, 1)
	if err := gif.EncodeAll(&out, &gif.GIF{Image: []*image.Paletted{a, b}, Delay: []int{10, 10}}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// provider is a GIPHY and a Tenor that refuse whatever a server has no business to send.
type provider struct {
	*httptest.Server
	t      *testing.T
	film   []byte
	asked  atomic.Int64 // of the API
	seen   atomic.Int64 // pictures
	broken atomic.Value // http.HandlerFunc in place of everything, nil when all is well
	mu     sync.Mutex
	paths  []string
}

const tenorTotal = 130

func newProvider(t *testing.T) *provider {
	p := &provider{t: t, film: film(t)}
	p.broken.Store(http.HandlerFunc(nil))
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.Close)
	return p
}

// as boots a server that asks this provider.
func (p *provider) as(name string, env ...string) *servertest.Server {
	p.t.Helper()
	return servertest.Start(p.t, append([]string{"QUCKCHAT_GIFS_PROVIDER=" + name, "QUCKCHAT_GIFS_API_KEY=key-" + name, "QUCKCHAT_GIFS_BASE_URL=" + p.URL}, env...)...)
}

func (p *provider) fails(h http.HandlerFunc) { p.broken.Store(h) }

func (p *provider) serve(w http.ResponseWriter, r *http.Request) {
	for name := range r.Header {
		if !slices.Contains([]string{"Accept", "Accept-Encoding", "User-Agent"}, name) {
			p.t.Errorf("the provider is sent %s: %q", name, r.Header[name])
		}
	}
	if agent := r.UserAgent(); agent != "QuckChat" || r.Method != http.MethodGet {
		p.t.Errorf("%s by %q", r.Method, agent)
	}
	p.mu.Lock()
	p.paths = append(p.paths, r.URL.RequestURI())
	p.mu.Unlock()
	isPicture := strings.HasPrefix(r.URL.Path, "/media/")
	if isPicture {
		p.seen.Add(1)
	} else {
		p.asked.Add(1)
	}
	if h := p.broken.Load().(http.HandlerFunc); h != nil {
		h(w, r)
		return
	}
	q := r.URL.Query()
	number := func(name string) (n int) {
		if _, err := fmt.Sscan(q.Get(name), &n); err != nil && q.Has(name) {
			p.t.Errorf("%s is %q", name, q.Get(name))
		}
		return n
	}
	items := func(from, count, total int, item func(int) string) string {
		var list []string
		for i := from; i < min(from+count, total); i++ {
			list = append(list, item(i))
		}
		return "[" + strings.Join(list, ",") + "]"
	}
	switch path := r.URL.Path; {
	case isPicture:
		w.Header().Set("Content-Type", "text/html") // which is not believed
		_, _ = w.Write(p.film)
	case strings.HasPrefix(path, "/v1/"):
		if q.Get("api_key") != "key-giphy" || q.Get("rating") != "pg-13" {
			p.t.Errorf("asked with %v", q)
		}
		if path == "/v1/gifs/g7" {
			fmt.Fprintf(w, `{"data":%s}`, p.giphy(7))
			return
		}
		if !slices.Contains([]string{"/v1/gifs/search", "/v1/gifs/trending", "/v1/stickers/search", "/v1/stickers/trending"}, path) {
			http.NotFound(w, r)
			return
		}
		if strings.HasSuffix(path, "search") != (q.Get("q") != "") {
			p.t.Errorf("%s with words %q", path, q.Get("q"))
		}
		fmt.Fprintf(w, `{"data":%s,"pagination":{"total_count":200}}`, items(number("offset"), number("limit"), 200, p.giphy))
	case path == "/v2/search" || path == "/v2/featured":
		if q.Get("key") != "key-tenor" || q.Get("contentfilter") != "low" || !strings.HasPrefix(q.Get("media_filter"), "gif") {
			p.t.Errorf("asked with %v", q)
		}
		from := 0
		if pos := q.Get("pos"); pos != "" {
			if _, err := fmt.Sscanf(pos, "CAE%d", &from); err != nil {
				p.t.Errorf("pos is %q", pos)
			}
		}
		next := ""
		if to := from + number("limit"); to < tenorTotal {
			next = fmt.Sprintf("CAE%d", to)
		}
		fmt.Fprintf(w, `{"results":%s,"next":%q}`, items(from, number("limit"), tenorTotal, p.tenor), next)
	case path == "/v2/posts":
		fmt.Fprintf(w, `{"results":%s}`, items(7, 1, tenorTotal, p.tenor))
	default:
		http.NotFound(w, r)
	}
}

func (p *provider) giphy(i int) string {
	size := func(name string) string {
		return fmt.Sprintf(`{"url":"%s/media/%d/%s.gif","width":"32","height":"24"}`, p.URL, i, name)
	}
	return fmt.Sprintf(`{"id":"g%d","title":"Cat %d","url":"https://giphy.com/gifs/g%d","images":{"original":%s,"fixed_height":%s,"fixed_width":{"url":"https://evil.example/x.gif"},"preview_gif":%s}}`,
		i, i, i, size("giphy"), size("200"), size("preview"))
}

func (p *provider) tenor(i int) string {
	return fmt.Sprintf(`{"id":"%d","title":"","content_description":"Dog %d","media_formats":{"gif":{"url":"%s/media/%d/full.gif","dims":[32,24]},"nanogif":{"url":"%s/media/%d/nano.gif","dims":[16,12]}}}`,
		i, i, p.URL, i, p.URL, i)
}

type gifImage struct{ URL, Width, Height string }

type gifItem struct {
	ID, Title, URL string
	Images         map[string]gifImage
}

type gifPage struct {
	Success    bool
	Data       []gifItem
	Pagination struct{ Total, Offset, Limit int }
}

func gifs(t *testing.T, u *servertest.User, path string) (page gifPage) {
	t.Helper()
	r := u.Do("GET", path, nil)
	r.OK(&page)
	if page.Data == nil || !page.Success {
		t.Errorf("%s: %s", path, r.Body)
	}
	if strings.Contains(string(r.Body), "://") { // a signature may spell http
		t.Errorf("%s names an address elsewhere: %s", path, r.Body)
	}
	return page
}

func TestGIFsAreSearchedByTheServerOnceForAll(t *testing.T) {
	p := newProvider(t)
	s := p.as("giphy")
	ada, bob := s.Register("ada"), s.Register("bob")
	var status struct {
		Success, Configured bool
		Provider            string
	}
	if ada.Do("GET", "/gifs/status", nil).OK(&status); !status.Success || !status.Configured || status.Provider != "giphy" {
		t.Errorf("status %+v", status)
	}
	page := gifs(t, ada, "/gifs/search?q=Grumpy%20%20CAT&limit=3&offset=5")
	if len(page.Data) != 3 || page.Data[0].ID != "g5" || page.Data[0].Title != "Cat 5" || page.Pagination.Total != 200 || page.Pagination.Offset != 5 || page.Pagination.Limit != 3 {
		t.Errorf("page %+v", page)
	}
	images := page.Data[0].Images
	for _, name := range []string{"fixed_height", "fixed_width", "fixed_height_small", "original", "preview_gif"} {
		if !strings.HasPrefix(images[name].URL, "/uploads/gifs/") || images[name].Width != "32" || images[name].Height != "24" {
			t.Errorf("%s is %+v", name, images[name])
		}
	}
	if images["fixed_width"].URL != images["fixed_height"].URL || images["original"].URL == images["fixed_height"].URL || page.Data[0].URL != images["original"].URL {
		t.Errorf("images %+v", images)
	}
	if p.paths[0] != "/v1/gifs/search?api_key=key-giphy&limit=3&offset=5&q=grumpy+cat&rating=pg-13" {
		t.Errorf("asked %q", p.paths)
	}
	gifs(t, bob, "/gifs/search?q=grumpy+cat&limit=3&offset=5")
	if n := p.asked.Load(); n != 1 {
		t.Errorf("%d requests for the same", n)
	}
	s.Advance(6 * time.Minute)
	gifs(t, bob, "/gifs/search?q=grumpy+cat&limit=3&offset=5")
	if n := p.asked.Load(); n != 2 {
		t.Errorf("%d requests after six minutes", n)
	}
	if page := gifs(t, ada, "/gifs/trending?limit=900"); len(page.Data) != 50 || page.Pagination.Limit != 50 {
		t.Errorf("%d of %+v", len(page.Data), page.Pagination)
	}
	if n := len(gifs(t, ada, "/gifs/stickers/trending").Data) + len(gifs(t, ada, "/gifs/stickers/search?q=x").Data); n != 50 {
		t.Errorf("%d stickers", n)
	}
	before := p.asked.Load()
	if n := len(gifs(t, ada, "/gifs/search?q=%20").Data); n != 0 || p.asked.Load() != before {
		t.Errorf("%d for no words", n)
	}
	var one struct {
		Success bool
		Data    *gifItem
		Message string
	}
	for range 2 {
		if ada.Do("GET", "/gifs/g7", nil).OK(&one); !one.Success || one.Data.ID != "g7" {
			t.Errorf("one %+v", one)
		}
	}
	if n := p.asked.Load(); n != before+1 {
		t.Errorf("%d requests for one", n-before)
	}
	for _, id := range []string{"g8", "..%2Fx", "a%3Fb"} {
		one.Success, one.Message = true, ""
		if ada.Do("GET", "/gifs/"+id, nil).OK(&one); one.Success || one.Message == "" {
			t.Errorf("%s is %+v", id, one)
		}
	}
	s.Nobody().Do("GET", "/gifs/trending", nil).Fails(401, "UNAUTHORIZED")
}

func TestTenorIsPagedByOffset(t *testing.T) {
	p := newProvider(t)
	s := p.as("tenor")
	ada := s.Register("ada")
	at := 0
	for at < tenorTotal {
		page := gifs(t, ada, fmt.Sprintf("/gifs/search?q=dog&limit=40&offset=%d", at))
		for i, found := range page.Data {
			if found.ID != fmt.Sprint(at+i) || found.Title != fmt.Sprintf("Dog %d", at+i) {
				t.Fatalf("at %d: %+v", at+i, found)
			}
		}
		if at += len(page.Data); len(page.Data) == 0 || (page.Pagination.Total > at) != (at < tenorTotal) {
			t.Fatalf("at %d: %+v", at, page.Pagination)
		}
	}
	if n := p.asked.Load(); n != 4 {
		t.Errorf("%d requests for four pages", n)
	}
	if page := gifs(t, ada, "/gifs/trending?offset=70&limit=10"); len(page.Data) != 10 || page.Data[0].ID != "70" { // nobody has come by
		t.Errorf("page %+v", page)
	}
	if page := gifs(t, ada, "/gifs/stickers/search?q=dog&offset=4000"); len(page.Data) != 0 {
		t.Errorf("page %+v", page)
	}
	page := gifs(t, ada, "/gifs/search?q=dog&limit=1")
	if images := page.Data[0].Images; images["fixed_height_small"].Width != "16" || images["original"].Width != "32" || images["preview_gif"].Height != "12" {
		t.Errorf("images %+v", images)
	}
	var one struct{ Data gifItem }
	if ada.Do("GET", "/gifs/7", nil).OK(&one); one.Data.ID != "7" {
		t.Errorf("one %+v", one)
	}
}

func TestAGIFIsFetchedOnceForAHundredPeopleAndGoesAfterAWeek(t *testing.T) {
	p := newProvider(t)
	s := p.as("giphy")
	ada, admin := s.Register("ada"), chief(t, s)
	address := gifs(t, ada, "/gifs/trending?limit=1").Data[0].URL
	if p.seen.Load() != 0 {
		t.Error("a picture was fetched that nobody has looked at")
	}
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			r, err := http.Get(s.URL + address)
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Body.Close()
			var got bytes.Buffer
			if _, err := got.ReadFrom(r.Body); err != nil || !bytes.Equal(got.Bytes(), p.film) || r.Header.Get("Content-Type") != "image/gif" || !strings.Contains(r.Header.Get("Content-Security-Policy"), "sandbox") {
				t.Errorf("%d %v, %d bytes, %v", r.StatusCode, err, got.Len(), r.Header)
			}
		})
	}
	all.Wait()
	if n := p.seen.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
	name, _, _ := strings.Cut(address, "?")
	get(s.Nobody(), name).Fails(404, "MEDIA_NOT_FOUND")
	get(ada, strings.Replace(address, "h=", "h=x", 1)).Fails(404, "MEDIA_NOT_FOUND")
	get(ada, strings.Replace(address, "/gifs/", "/images/", 1)).Fails(404, "MEDIA_NOT_FOUND")
	var swept struct{ Blobs int }
	if admin.Do("POST", "/admin/media/sweep", nil).OK(&swept); swept.Blobs != 0 || len(blobs(t, s)) != 1 {
		t.Errorf("swept %+v", swept)
	}
	s.Advance(8 * 24 * time.Hour)
	sweepTo(t, s, admin.Refreshed(), 0)
	get(ada, gifs(t, ada.Refreshed(), "/gifs/trending?limit=1").Data[0].URL).OK(nil)
	if n := p.seen.Load(); n != 2 {
		t.Errorf("fetched %d times", n)
	}
}

func TestWithoutAProviderThereIsNothingAndNobodyIsAsked(t *testing.T) {
	s := servertest.Start(t)
	ada := s.Register("ada")
	if page := gifs(t, ada, "/gifs/search?q=cat&limit=7&offset=2"); len(page.Data) != 0 || page.Pagination.Limit != 7 || page.Pagination.Offset != 2 {
		t.Errorf("page %+v", page)
	}
	for _, path := range []string{"/gifs/status", "/gifs/abc"} {
		var one struct{ Success, Configured bool }
		if ada.Do("GET", path, nil).OK(&one); one.Configured || one.Success != (path == "/gifs/status") {
			t.Errorf("%s: %+v", path, one)
		}
	}
	ada.Do("POST", "/messages", remote(ada.Group("g"), "https://media1.giphy.com/media/x/giphy.gif", "c1")).Fails(400, "ATTACHMENT_FOREIGN")
}

// remote is a message as the shipped phone app sends a GIF.
func remote(room, address, clientID string) map[string]any {
	return map[string]any{"conversationId": room, "type": "image", "clientId": clientID, "attachments": []map[string]any{{"type": "image", "url": address}}}
}

type gifSent struct {
	ID          string `json:"_id"`
	Attachments []struct{ ID, URL, MimeType, ThumbnailURL string }
}

func TestAGIFThatIsSentBecomesAnUploadOfItsSender(t *testing.T) {
	p := newProvider(t)
	s := p.as("giphy")
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	there := p.URL + "/media/1/giphy.gif"
	var first, again, other, second gifSent
	ada.Do("POST", "/messages", remote(room, there, "c1")).OK(&first)
	ada.Do("POST", "/messages", remote(room, there, "c1")).OK(&again)
	if len(first.Attachments) != 1 || first.ID != again.ID || first.Attachments[0].MimeType != "image/gif" || !strings.HasPrefix(first.Attachments[0].URL, "/uploads/images/") {
		t.Fatalf("sent %+v, again %+v", first, again)
	}
	if r := get(s.Nobody(), first.Attachments[0].URL); r.Status != 200 || !bytes.HasPrefix(r.Body, []byte("GIF89a")) {
		t.Errorf("%d %q", r.Status, r.Body)
	}
	ada.Do("POST", "/messages", remote(room, p.URL+"/media/2/giphy.gif", "c1")).Fails(409, "CLIENT_ID_REUSED")
	ada.Do("POST", "/messages", remote(room, there, "c2")).OK(&other)
	ours := gifs(t, bob, "/gifs/trending?limit=2").Data[1].URL
	bob.Do("POST", "/messages", remote(room, ours, "c1")).OK(&second)
	if len(second.Attachments) != 1 || !strings.HasPrefix(second.Attachments[0].URL, "/uploads/images/") || second.Attachments[0].URL == first.Attachments[0].URL {
		t.Errorf("bob sent %+v", second)
	}
	if n := p.seen.Load(); n != 2 {
		t.Errorf("fetched %d times", n)
	}
	ada.Do("POST", "/messages", remote(room, "https://example.org/x.gif", "c3")).Fails(400, "ATTACHMENT_FOREIGN")
	ada.Do("POST", "/messages", remote(room, "https://giphy.com.example.org/x.gif", "c3")).Fails(400, "ATTACHMENT_FOREIGN")
	ada.Do("POST", "/messages", remote(room, "/uploads/gifs/"+strings.Repeat("0", 32)+".gif", "c3")).Fails(400, "GIF_UNUSABLE")
	p.fails(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	ada.Do("POST", "/messages", remote(room, p.URL+"/media/9/giphy.gif", "c4")).Fails(503, "GIF_UNAVAILABLE")
	ada.Do("POST", "/messages", remote(room, there, "c1")).OK(&again)
	if first.ID != again.ID {
		t.Error("with the provider down the repetition is another message")
	}
}

func TestAStickerOfAProviderIsShownAtOurAddress(t *testing.T) {
	p := newProvider(t)
	s := p.as("giphy")
	ada := s.Register("ada")
	there := p.URL + "/media/3/giphy.gif"
	var saved struct {
		Data struct{ URL, ThumbnailURL string }
	}
	ada.Do("POST", "/stickers", map[string]any{"url": there, "giphyId": "g3", "thumbnailUrl": there}).OK(&saved)
	var list struct {
		Data []struct{ URL, ThumbnailURL string }
	}
	ada.Do("GET", "/stickers", nil).OK(&list)
	if !strings.HasPrefix(saved.Data.URL, "/uploads/gifs/") || list.Data[0] != saved.Data || list.Data[0].ThumbnailURL != saved.Data.URL {
		t.Errorf("saved %+v, listed %+v", saved, list)
	}
	get(s.Nobody(), list.Data[0].URL).OK(nil)
	ada.Do("POST", "/stickers", map[string]any{"url": gifs(t, ada, "/gifs/trending").Data[4].URL, "giphyId": "g4"}).OK(&saved)
	ada.Do("GET", "/stickers/recent", nil).OK(&list)
	if len(list.Data) != 2 || !strings.HasPrefix(saved.Data.URL, "/uploads/gifs/") {
		t.Errorf("saved %+v, listed %+v", saved, list)
	}
}

func TestAHostileProviderFindsNothingAndServesNothing(t *testing.T) {
	p := newProvider(t)
	s := p.as("giphy")
	ada, admin := s.Register("ada"), chief(t, s)
	room := ada.Group("g")
	page := gifs(t, ada, "/gifs/trending?limit=50").Data
	within := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a place within was asked") }))
	defer within.Close()
	endless := func(w http.ResponseWriter, r *http.Request) {
		chunk := append(append([]byte{}, p.film...), make([]byte, 1<<16)...)
		for {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
	next := 0
	for what, h := range map[string]http.HandlerFunc{
		"HTML": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html><script>alert(1)</script>") },
		"SVG": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "image/gif")
			fmt.Fprint(w, `<svg xmlns="http://www.w3.org/2000/svg" onload="x()"/>`)
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, within.URL, http.StatusFound) },
		"endless":  endless,
		"nothing":  func(http.ResponseWriter, *http.Request) {},
		"cut": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9000")
			_, _ = w.Write(p.film)
		},
		"forbidden": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) },
		"down":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"odd JSON": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"data":[1,null,"x",{"id":[]},{"id":"a","images":{"original":{"url":"file:///etc/passwd"}}},{"id":"b","images":{"original":{"url":"http://127.0.0.1:1/x"}}}],"pagination":{"total_count":-5}}`)
		},
	} {
		p.fails(h)
		if found := gifs(t, ada, "/gifs/search?q="+url.QueryEscape(what)); len(found.Data) != 0 {
			t.Errorf("%s: found %+v", what, found)
		}
		r := get(s.Nobody(), page[next].URL)
		if r.Status != 404 && r.Status != 503 {
			t.Errorf("%s: served %d %q", what, r.Status, r.Body)
		}
		r = ada.Do("POST", "/messages", remote(room, page[next].URL, what))
		if r.Status != 400 && r.Status != 503 {
			t.Errorf("%s: sent %d %s", what, r.Status, r.Body)
		}
		next++
	}
	if left := blobs(t, s); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	p.fails(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) })
	gifs(t, ada, "/gifs/search?q=last")
	var overview struct{ GIFs struct{ Text string } }
	if admin.Do("GET", "/admin/media", nil).OK(&overview); overview.GIFs.Text != "status 403" && !strings.Contains(overview.GIFs.Text, "failed too often") {
		t.Errorf("state %+v", overview)
	}
}

func TestTheGIFsThatAreKeptHaveABoundAndTheOldestGoFirst(t *testing.T) {
	p := newProvider(t)
	s := p.as("giphy", "QUCKCHAT_GIFS_CACHE_MAX=10MiB")
	ada := s.Register("ada")
	page := gifs(t, ada, "/gifs/trending?limit=4").Data
	served := byte(0)
	p.fails(func(w http.ResponseWriter, _ *http.Request) {
		served++
		_, _ = w.Write(append(slices.Clone(p.film), bytes.Repeat([]byte{served}, 4<<20)...))
	})
	for _, found := range page {
		get(s.Nobody(), found.URL).OK(nil)
		s.Advance(time.Second)
	}
	if left := blobs(t, s); len(left) != 2 {
		t.Errorf("left %v", left)
	}
	get(s.Nobody(), page[3].URL).OK(nil)
	if n := p.seen.Load(); n != 4 {
		t.Errorf("fetched %d times", n)
	}
	get(s.Nobody(), page[0].URL).OK(nil)
	if n := p.seen.Load(); n != 5 {
		t.Errorf("fetched %d times", n)
	}
}
