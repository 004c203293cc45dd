// Package outbound is the only way from the server to other machines by HTTP, because the addresses come from people.
//
// A URL may name any host, and any host may have any address, another one each time it is asked. So the address is
// checked when it is dialled, after all names are resolved and for every redirect: nothing within the house, of the
// machine itself, or of its provider is reached. Redirects, sizes and times are bounded, nothing is remembered from
// one request to the next, and the proxies of the environment, which would do the dialling, are not used. What an
// administrator has named by host and port may lie within the house: see [Client.Trusted].
package outbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// What can be wrong with a request, for errors.Is. The text names the host at most, never the path or the query.
var (
	ErrForbidden   = errors.New("not a place that may be asked")
	ErrTooLarge    = errors.New("the answer is too large")
	ErrUnavailable = errors.New("no answer")
)

// Options of a Client. The zero value of each stands for the default.
type Options struct {
	UserAgent    string
	Timeout      time.Duration // for everything: retries, redirects, the body. 10 s
	MaxBytes     int64         // of a body, after decompression. 1 MiB
	MaxRedirects int           // 3; negative for none
	Ports        []uint16      // of URLs. 80 and 443
	Retries      int           // of requests that may be repeated (GET, HEAD, PUT, DELETE, OPTIONS), with growing pauses. 0
	Own          []netip.Addr  // addresses of ours that no interface of this machine has, as behind a router
	BreakAfter   int           // failures in a row after which a host is left alone. 5
	BreakFor     time.Duration // how long. 30 s
	Resolver     *net.Resolver // net.DefaultResolver
}

// Client makes requests. Its methods may be called from any goroutine.
type Client struct {
	options Options
	trusted map[string]bool // host:port as destination makes them
	breaker breaker
	http    *http.Client
	guarded net.Dialer
	free    net.Dialer // for trusted
	public  func(netip.Addr) bool
}

// New makes a client for URLs that anybody may have given.
func New(o Options) *Client { return newClient(o, nil) }

// Trusted makes a client of the same options that may ask some more places: exact names and ports as an administrator has
// configured them, "whisper.lan:9000", whose addresses may be private or those of this machine, yet not link-local,
// where the secrets of providers lie. All else is as it was, for redirects from there as well. It shares no connection.
func (c *Client) Trusted(places ...string) (*Client, error) {
	trusted := map[string]bool{}
	for _, place := range places {
		u, err := url.Parse("http://" + place)
		if err != nil || u.Host != place || u.Port() == "" {
			return nil, fmt.Errorf("trusted place %q is not of the form host:port", place)
		}
		host, port, err := destination(u)
		if err != nil {
			return nil, fmt.Errorf("trusted place %q: %w", place, err)
		}
		trusted[net.JoinHostPort(host, strconv.Itoa(int(port)))] = true
	}
	return newClient(c.options, trusted), nil
}

func newClient(o Options, trusted map[string]bool) *Client {
	o.Timeout = orDefault(o.Timeout, 10*time.Second)
	o.MaxBytes = orDefault(o.MaxBytes, 1<<20)
	o.BreakFor = orDefault(o.BreakFor, 30*time.Second)
	o.BreakAfter = orDefault(o.BreakAfter, 5)
	if o.MaxRedirects == 0 {
		o.MaxRedirects = 3
	}
	if len(o.Ports) == 0 {
		o.Ports = []uint16{80, 443}
	}
	c := &Client{options: o, trusted: trusted, breaker: breaker{after: o.BreakAfter, pause: o.BreakFor}, public: public}
	c.free = net.Dialer{Timeout: 5 * time.Second, Resolver: o.Resolver, ControlContext: c.checkTrusted}
	c.guarded = net.Dialer{Timeout: 5 * time.Second, Resolver: o.Resolver, ControlContext: c.checkPublic}
	c.http = &http.Client{
		CheckRedirect: c.redirect,
		Transport: &hop{c, &http.Transport{
			DialContext:            c.dial,
			TLSHandshakeTimeout:    5 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			MaxIdleConns:           32,
			MaxIdleConnsPerHost:    2,
			IdleConnTimeout:        30 * time.Second,
		}},
	}
	return c
}

func orDefault[N int | int64 | time.Duration](n, otherwise N) N {
	if n <= 0 {
		return otherwise
	}
	return n
}

// Close ends the connections that are kept for later.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Get asks for a URL. See Do.
func (c *Client) Get(ctx context.Context, address string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: not a URL", ErrForbidden)
	}
	return c.Do(req)
}

// Do makes a request, and answers with whatever status the other side gives; the caller closes the body. Reading the
// body fails with ErrTooLarge at its limit, and what was read until then may be used. Errors: ErrForbidden,
// ErrUnavailable, and that of the request's context.
func (c *Client) Do(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeoutCause(req.Context(), c.options.Timeout, errTimeout)
	for try := 0; ; try++ {
		next := req.Clone(ctx)
		// The transport decompresses what it has asked for by itself, and only that.
		next.Header.Del("Accept-Encoding")
		if c.options.UserAgent != "" && next.Header.Get("User-Agent") == "" {
			next.Header.Set("User-Agent", c.options.UserAgent)
		}
		if try > 0 && req.GetBody != nil {
			body, err := req.GetBody()
			if err != nil {
				cancel()
				return nil, err
			}
			next.Body = body
		}
		resp, err := c.http.Do(next)
		if pause, again := c.again(req, try, resp, err); again && wait(ctx, pause) {
			if resp != nil {
				_ = resp.Body.Close()
			}
			continue
		}
		if err != nil {
			err = mapError(ctx, next.URL.Hostname(), err)
			cancel()
			return nil, err
		}
		resp.Body = &body{ReadCloser: resp.Body, ctx: ctx, cancel: cancel, host: resp.Request.URL.Hostname(), left: c.options.MaxBytes}
		return resp, nil
	}
}

// again says whether to repeat a request, and after which pause.
func (c *Client) again(req *http.Request, try int, resp *http.Response, err error) (time.Duration, bool) {
	repeatable := slices.Contains([]string{"", http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions}, req.Method) &&
		(req.Body == nil || req.Body == http.NoBody || req.GetBody != nil)
	if try >= c.options.Retries || !repeatable {
		return 0, false
	}
	pause := 200 * time.Millisecond << min(try, 5)
	pause += rand.N(pause)
	if err != nil {
		return pause, !errors.Is(err, ErrForbidden) && !errors.Is(err, errOpen) && !errors.Is(err, errRedirects)
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s >= 0 {
			pause = max(pause, time.Duration(min(s, 3600))*time.Second)
		}
		return pause, true
	}
	return 0, false
}

// wait reports whether there is time enough.
func wait(ctx context.Context, pause time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= pause {
		return false
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

var (
	errTimeout   = errors.New("it took too long")
	errRedirects = errors.New("too many redirects")
	errOpen      = errors.New("it has failed too often lately")
)

// mapError leaves the end of the caller's context as it is. What the others say is told without URLs, and of a forbidden
// place not even the address.
func mapError(ctx context.Context, host string, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		if at, parseErr := url.Parse(u.URL); parseErr == nil && at.Hostname() != "" {
			host = at.Hostname() // of the redirect that failed
		}
		err = u.Err
	}
	switch {
	case errors.Is(err, ErrForbidden):
		return fmt.Errorf("%w: %q", ErrForbidden, host)
	case context.Cause(ctx) == errTimeout:
		return fmt.Errorf("%w from %q: %w", ErrUnavailable, host, errTimeout)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	text := err.Error() // which may quote what came, at length
	return fmt.Errorf("%w from %q: %s", ErrUnavailable, host, text[:min(len(text), 200)])
}

// body is bounded in size and time.
type body struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelFunc
	host   string
	left   int64
}

func (b *body) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if b.left < 0 {
		return 0, ErrTooLarge
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left+1)]) // one more, to tell the end from the limit
	if b.left -= int64(n); b.left < 0 {
		return n - 1, ErrTooLarge
	}
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	return n, mapError(b.ctx, b.host, err)
}

func (b *body) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}
