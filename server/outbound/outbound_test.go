package outbound

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

var ctx = context.Background()

// Outside stands for the public network in these tests: a server there is out in the world, one at 127.0.0.1 within.
var outside = netip.MustParseAddr("127.0.0.2")

func outsideToo(a netip.Addr) bool { return plain(a) == outside || public(a) }

// site is a server that counts who comes.
type site struct {
	*httptest.Server
	hits atomic.Int64
	port uint16
}

func newSite(t *testing.T, address string, serve http.HandlerFunc) *site {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.hits.Add(1)
		serve(w, r)
	}))
	_ = s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	s.port = netip.MustParseAddrPort(l.Addr().String()).Port()
	return s
}

func outdoors(t *testing.T, serve http.HandlerFunc) *site {
	t.Helper()
	return newSite(t, "127.0.0.2:0", serve)
}
func indoors(t *testing.T, serve http.HandlerFunc) *site {
	t.Helper()
	return newSite(t, "127.0.0.1:0", serve)
}

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }

// client allows the ports of sites, and takes outside for public.
func client(t *testing.T, o Options, sites ...*site) *Client {
	t.Helper()
	for _, s := range sites {
		o.Ports = append(o.Ports, s.port)
	}
	c := New(o)
	c.public = outsideToo
	t.Cleanup(c.Close)
	return c
}

func read(c *Client, address string) (string, error) {
	resp, err := c.Get(ctx, address)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// names is a name server of which answer says the addresses of a name when asked for the nth time.
func names(t *testing.T, answer func(name string, n int) []string) *net.Resolver {
	t.Helper()
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	var mu sync.Mutex
	asked := map[string]int{}
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := l.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			m.Response, m.Authoritative, m.Additionals = true, true, nil
			mu.Lock()
			key := q.Name.String() + q.Type.String()
			asked[key]++
			for _, text := range answer(strings.TrimSuffix(q.Name.String(), "."), asked[key]) {
				a := netip.MustParseAddr(text)
				h := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
				switch {
				case a.Is4() && q.Type == dnsmessage.TypeA:
					m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}})
				case a.Is6() && q.Type == dnsmessage.TypeAAAA:
					m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
				}
			}
			mu.Unlock()
			if out, err := m.Pack(); err == nil {
				_, _ = l.WriteTo(out, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", l.LocalAddr().String())
	}}
}

func TestOnlyAddressesOutThereArePublic(t *testing.T) {
	for _, text := range strings.Fields(`
		0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.255 100.100.100.200 127.0.0.1 127.255.255.254 169.254.0.1
		169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.192 192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 198.19.255.255
		198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 168.63.129.16
		:: ::1 ::7f00:1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:0:127.0.0.1 64:ff9b::127.0.0.1 64:ff9b::10.0.0.1
		64:ff9b::169.254.169.254 64:ff9b:1::1 64:ff9b:1::8.8.8.8 100::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:2::1 2001:10::1
		2001:20::1 2001:db8::1 2002:7f00:1:: 2002:0a00:1::1 2002:0808:0808:: 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fdff::1 fe80::1
		fe80::1%eth0 fec0::1 ff02::1 ff0e::1 4000::1 2606:4700::1%eth0`) {
		if public(netip.MustParseAddr(text)) {
			t.Errorf("%s is public", text)
		}
	}
	for _, text := range strings.Fields(`
		1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.1 126.0.0.1 128.0.0.1 169.253.0.1 172.15.0.1 172.32.0.1
		192.0.1.1 192.167.0.1 192.169.0.1 198.17.0.1 198.20.0.1 223.255.255.255 ::ffff:8.8.8.8 64:ff9b::8.8.8.8
		2606:4700::1 2a00:1450::1 2001:200::1 2001:4860:4860::8888 2400::1`) {
		if !public(netip.MustParseAddr(text)) {
			t.Errorf("%s is not public", text)
		}
	}
}

func TestNoSpellingLeadsIntoTheHouse(t *testing.T) {
	within := indoors(t, hello)
	six := within
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
		_ = l.Close()
		six = newSite(t, "[::1]:0", hello)
	}
	// A resolver as foolish as can be: whatever it does not know is this machine.
	foolish := names(t, func(name string, _ int) []string {
		switch name {
		case "metadata.test":
			return []string{"169.254.169.254"}
		case "lan.test":
			return []string{"192.168.1.1", "fd00::1"}
		case "mapped.test":
			return []string{"::ffff:127.0.0.1"}
		case "nat64.test":
			return []string{"64:ff9b::7f00:1"}
		}
		return []string{"127.0.0.1", "::1"}
	})
	c := New(Options{Ports: []uint16{80, 443, within.port, six.port}, Resolver: foolish, Timeout: 5 * time.Second, BreakAfter: 1000})
	defer c.Close()
	own := ""
	if ours, err := net.InterfaceAddrs(); err == nil {
		for _, our := range ours {
			if p, err := netip.ParsePrefix(our.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
				own = " " + p.Addr().String()
			}
		}
	}
	for _, host := range strings.Fields(`
		127.0.0.1 127.1 127.0.1 0x7f.1 0x7f.0.0.1 0X7F.0.0.0x1 0x7f000001 2130706433 017700000001 0177.0.0.1 127.0.0.01 0 0.0.0.0 00.0x0.0
		127.0.0.1. 2130706433. 0x7f.1. localhost localhost. LOCALHOST a.localhost ip6-localhost any.test any.test. 127.0.0.1.any.test
		[::1] [0:0:0:0:0:0:0:1] [::] [::ffff:127.0.0.1] [::ffff:7f00:1] [0:0:0:0:0:ffff:7f00:0001] [::127.0.0.1] [64:ff9b::127.0.0.1]
		[64:ff9b::7f00:1] [2002:7f00:1::] [2001:0:4136:e378:8000:63bf:80ff:fffe] [fe80::1%25lo] [::1%25lo] 127.0.0.2 127.255.255.254
		169.254.169.254 [::ffff:169.254.169.254] [fd00:ec2::254] metadata.test lan.test mapped.test nat64.test 100.64.0.1 10.1.2.3
		192.168.0.1 172.20.0.1 224.0.0.1 255.255.255.255 198.18.0.1 203.0.113.7 168.63.129.16 ①②⑦.⓪.⓪.① 127。0。0。1 １２７.0.0.1 ⑯⑨.254.169.254
		[64:ff9b:1::1]` + own) {
		for _, port := range []uint16{within.port, six.port} {
			got, err := read(c, fmt.Sprintf("http://%s:%d/secret?token=1", host, port))
			if !errors.Is(err, ErrForbidden) {
				t.Errorf("%s: %q, %v", host, got, err)
			} else if text := err.Error(); strings.Contains(text, "secret") || strings.Contains(text, "token") || strings.Contains(text, "dial") {
				t.Errorf("%s: says too much: %v", host, err)
			}
		}
	}
	for _, address := range []string{
		"", "x", "/x", "//127.0.0.1/", "http:", "http://", "http:///x", "http://:80/", "http:127.0.0.1", "file:///etc/passwd", "ftp://example.org/",
		"gopher://example.org/", "javascript:alert(1)", "data:text/plain,x", "unix:///run/x", "ws://example.org/", "HTTP+UNIX://x/",
		"http://example.org:22/", "http://example.org:8080/", "http://example.org:0/", "http://example.org:65536/", "http://example.org:-1/",
		"http://user@example.org/", "http://user:password@example.org/", "http://example.org\x00/", "http://exa mple.org/", "http://[::1/",
		"http://1.2.3/", "http://4294967296/", "http://./", "http://256.1.1.1/", "http://[::ffff:1.2.3.4%25x]/",
	} {
		if _, err := read(c, address); !errors.Is(err, ErrForbidden) {
			t.Errorf("%q: %v", address, err)
		}
	}
	if hits := within.hits.Load() + six.hits.Load(); hits != 0 {
		t.Errorf("%d requests came through", hits)
	}
}

func TestAnAddressOfOursBehindARouterIsRefused(t *testing.T) {
	site := outdoors(t, hello)
	if got, err := read(client(t, Options{}, site), site.URL); got != "hello" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := read(client(t, Options{Own: []netip.Addr{outside}}, site), site.URL); !errors.Is(err, ErrForbidden) {
		t.Errorf("error %v", err)
	}
}

func TestANameThatMovesIntoTheHouseIsNotFollowed(t *testing.T) {
	out := outdoors(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		hello(w, r)
	})
	// The same port within, so that only the address tells the two apart.
	within := newSite(t, fmt.Sprintf("127.0.0.1:%d", out.port), hello)
	resolver := names(t, func(name string, n int) []string {
		switch {
		case name == "both.test":
			return []string{"::1", "127.0.0.2", "127.0.0.1"}
		case n == 1:
			return []string{"127.0.0.2"}
		}
		return []string{"127.0.0.1"}
	})
	c := client(t, Options{Resolver: resolver}, out)
	address := fmt.Sprintf("http://moving.test:%d/", out.port)
	if got, err := read(c, address); got != "hello" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := read(c, address); !errors.Is(err, ErrForbidden) {
		t.Errorf("error %v", err)
	}
	// Of several addresses only those outside are dialled.
	for range 10 {
		if _, err := read(c, fmt.Sprintf("http://both.test:%d/", out.port)); err != nil && !errors.Is(err, ErrForbidden) {
			t.Errorf("error %v", err)
		}
	}
	if out.hits.Load() < 2 || within.hits.Load() != 0 {
		t.Errorf("%d outside, %d within", out.hits.Load(), within.hits.Load())
	}
}

func TestEachRedirectIsCheckedAnew(t *testing.T) {
	within := indoors(t, hello)
	var out *site
	out = outdoors(t, func(w http.ResponseWriter, r *http.Request) {
		switch to := r.URL.Query().Get("to"); {
		case to != "":
			http.Redirect(w, r, to, http.StatusFound)
		case r.URL.Query().Has("n"):
			n, _ := strconv.Atoi(r.URL.Query().Get("n"))
			if n == 0 {
				hello(w, r)
				return
			}
			http.Redirect(w, r, fmt.Sprintf("%s/?n=%d", out.URL, n-1), http.StatusTemporaryRedirect)
		}
	})
	c := client(t, Options{}, out, within)
	for _, to := range []string{
		within.URL, strings.Replace(within.URL, "127.0.0.1", "localhost", 1), "http://169.254.169.254/latest/meta-data/", "http://[::1]/",
		"file:///etc/passwd", "ftp://127.0.0.2/", "http://user:password@127.0.0.2/", "http://127.0.0.2:22/", "http://0x7f.1/",
		out.URL + "/?to=" + url.QueryEscape(within.URL),
	} {
		if _, err := read(c, out.URL+"/?to="+url.QueryEscape(to)); !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %v", to, err)
		}
	}
	if hits := within.hits.Load(); hits != 0 {
		t.Errorf("%d requests came through", hits)
	}
	if got, err := read(c, out.URL+"/?n=3"); got != "hello" || err != nil {
		t.Errorf("three: %q, %v", got, err)
	}
	if _, err := read(c, out.URL+"/?n=4"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("four: %v", err)
	}
	never := client(t, Options{MaxRedirects: -1}, out)
	if _, err := read(never, out.URL+"/?n=1"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("one of none: %v", err)
	}
	if got, err := read(never, out.URL+"/?n=0"); got != "hello" || err != nil {
		t.Errorf("none: %q, %v", got, err)
	}
}

func TestNothingOfTheCallersGoesToAnotherOrigin(t *testing.T) {
	seen := make(chan http.Header, 10)
	other := outdoors(t, func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header.Clone() })
	first := outdoors(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.SetCookie(w, &http.Cookie{Name: "id", Value: "1"})
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		case "/here":
			http.Redirect(w, r, "/end", http.StatusTemporaryRedirect)
		case "/end":
			seen <- r.Header.Clone()
		}
	})
	c := client(t, Options{UserAgent: "QuckChat"}, first, other)
	ask := func(method, path, body string) error {
		req, err := http.NewRequestWithContext(ctx, method, first.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"Authorization": {"secret"}, "X-Api-Key": {"secret"}, "Cookie": {"secret"}, "Accept": {"text/html"}}
		resp, err := c.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	}
	if err := ask(http.MethodGet, "/away", ""); err != nil {
		t.Fatal(err)
	}
	got := <-seen
	if fmt.Sprint(got["Authorization"], got["X-Api-Key"], got["Cookie"], got["Referer"]) != "[] [] [] []" || got.Get("User-Agent") != "QuckChat" || got.Get("Accept") != "text/html" {
		t.Errorf("elsewhere: %v", got)
	}
	if err := ask(http.MethodGet, "/here", ""); err != nil {
		t.Fatal(err)
	}
	if got := <-seen; got.Get("Authorization") != "secret" || got.Get("X-Api-Key") != "secret" {
		t.Errorf("at the same origin: %v", got)
	}
	if err := ask(http.MethodPost, "/away", "private words"); !errors.Is(err, ErrForbidden) {
		t.Errorf("a body: %v", err)
	}
	if len(seen) != 0 {
		t.Errorf("a body came through: %v", <-seen)
	}
	// Nor is a cookie kept.
	resp, err := c.Get(ctx, first.URL+"/end")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if got := <-seen; got.Get("Cookie") != "" {
		t.Errorf("cookie %q", got.Get("Cookie"))
	}
}

func TestBodiesAreBoundedAfterDecompression(t *testing.T) {
	out := outdoors(t, func(w http.ResponseWriter, r *http.Request) {
		size, _ := strconv.Atoi(r.URL.Query().Get("size"))
		var to io.Writer = w
		if r.URL.Query().Has("gzip") {
			if r.Header.Get("Accept-Encoding") != "gzip" {
				t.Errorf("accepts %q", r.Header.Get("Accept-Encoding"))
			}
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			defer z.Close()
			to = z
		}
		block := make([]byte, 64<<10)
		for size > 0 {
			n, err := to.Write(block[:min(size, len(block))])
			if size -= n; err != nil {
				return
			}
		}
	})
	c := client(t, Options{MaxBytes: 100_000}, out)
	for query, want := range map[string]int{"size=0": 0, "size=99999": 99_999, "size=100000": 100_000, "gzip&size=100000": 100_000} {
		if got, err := read(c, out.URL+"/?"+query); len(got) != want || err != nil {
			t.Errorf("%s: %d bytes, %v", query, len(got), err)
		}
	}
	for _, query := range []string{"size=100001", "size=9000000", "gzip&size=100001"} {
		if got, err := read(c, out.URL+"/?"+query); len(got) != 100_000 || !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %d bytes, %v", query, len(got), err)
		}
	}
	// A gigabyte in one megabyte; the caller's wish for other encodings is not passed on.
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, out.URL+"/?gzip&size=1000000000", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "br, zstd")
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if n, again := resp.Body.Read(make([]byte, 10)); n != 0 || !errors.Is(again, ErrTooLarge) {
		t.Errorf("after the limit: %d, %v", n, again)
	}
	_ = resp.Body.Close()
	runtime.ReadMemStats(&after)
	if len(b) != 100_000 || !errors.Is(err, ErrTooLarge) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if sum := after.TotalAlloc - before.TotalAlloc; sum > 8<<20 {
		t.Errorf("%d bytes allocated", sum)
	}
}

func TestWhatTakesTooLongIsGivenUp(t *testing.T) {
	end := make(chan struct{})
	out := outdoors(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/silent":
		case "/headers":
			w.Header().Set("X", strings.Repeat("x", 1<<20))
			return
		case "/drip":
			for {
				_, err := io.WriteString(w, "x")
				if _ = http.NewResponseController(w).Flush(); err != nil {
					return
				}
				select {
				case <-time.After(10 * time.Millisecond):
				case <-r.Context().Done():
					return
				}
			}
		}
		select {
		case <-end:
		case <-r.Context().Done():
		}
	})
	defer close(end)
	c := client(t, Options{Timeout: 300 * time.Millisecond}, out)
	for _, path := range []string{"/silent", "/drip"} {
		began := time.Now()
		_, err := read(c, out.URL+path+"?token=1")
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), errTimeout.Error()) || strings.Contains(err.Error(), "token") {
			t.Errorf("%s: %v", path, err)
		}
		if took := time.Since(began); took < 250*time.Millisecond || took > 3*time.Second {
			t.Errorf("%s: %v", path, took)
		}
	}
	if _, err := read(c, out.URL+"/headers"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("large headers: %v", err)
	}
	short, cancel := context.WithCancel(ctx)
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := c.Get(short, out.URL+"/silent"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestTheProxiesOfTheEnvironmentAreNotUsed(t *testing.T) {
	proxy := indoors(t, hello)
	out := outdoors(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "directly") })
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		t.Setenv(name, proxy.URL)
	}
	if got, err := read(client(t, Options{}, out), out.URL); got != "directly" || err != nil || proxy.hits.Load() != 0 {
		t.Errorf("%q, %v, %d at the proxy", got, err, proxy.hits.Load())
	}
}
