package outbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// hop is one request on the way, the first or that of a redirect: each is checked by itself.
type hop struct {
	client *Client
	next   *http.Transport
}

func (h *hop) RoundTrip(req *http.Request) (*http.Response, error) {
	c := h.client
	place, err := c.place(req.URL)
	if err != nil {
		return nil, err
	}
	if err := c.breaker.enter(place); err != nil {
		return nil, err
	}
	resp, err := h.next.RoundTrip(req)
	if err != nil {
		if !errors.Is(err, ErrForbidden) && !gaveUp(req.Context()) {
			c.breaker.failed(place)
		}
		return nil, err
	}
	// Of a stranger's host anybody may have chosen the path that fails, to keep others from asking it.
	bad := resp.StatusCode >= 500 && c.trusted[place]
	resp.Body = &answer{ReadCloser: resp.Body, ctx: req.Context(), ended: func(err error) {
		if bad || err != nil {
			c.breaker.failed(place)
		} else {
			c.breaker.succeeded(place)
		}
	}}
	return resp, nil
}

func (h *hop) CloseIdleConnections() { h.next.CloseIdleConnections() }

// gaveUp reports whether it was the caller who ended it.
func gaveUp(ctx context.Context) bool { return ctx.Err() != nil && context.Cause(ctx) != errTimeout }

// answer tells the breaker, once, how the body of one hop has ended.
type answer struct {
	io.ReadCloser
	ctx   context.Context
	ended func(error)
	once  sync.Once
}

func (a *answer) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		a.once.Do(func() { a.ended(nil) })
	} else if err != nil && !gaveUp(a.ctx) {
		a.once.Do(func() { a.ended(err) })
	}
	return n, err
}

func (a *answer) Close() error {
	a.once.Do(func() { a.ended(nil) })
	return a.ReadCloser.Close()
}

// redirect bounds how many there are. What the caller has put into headers and bodies was meant for the first origin.
func (c *Client) redirect(req *http.Request, via []*http.Request) error {
	if len(via) > max(c.options.MaxRedirects, 0) {
		return errRedirects
	}
	req.Header.Del("Referer")
	if first := via[0].URL; req.URL.Scheme == first.Scheme && req.URL.Host == first.Host {
		return nil
	}
	if req.Body != nil && req.Body != http.NoBody {
		return fmt.Errorf("%w: a redirect of what was sent", ErrForbidden)
	}
	for name := range req.Header {
		if !slices.Contains([]string{"Accept", "Accept-Language", "Range", "User-Agent"}, name) {
			req.Header.Del(name)
		}
	}
	return nil
}

// place is host:port of a URL that may be asked, as far as one can tell before its name is resolved.
func (c *Client) place(u *url.URL) (string, error) {
	host, port, err := destination(u)
	if err != nil {
		return "", err
	}
	place := net.JoinHostPort(host, strconv.Itoa(int(port)))
	if !c.trusted[place] && !slices.Contains(c.options.Ports, port) {
		return "", ErrForbidden
	}
	return place, nil
}

// destination is the host of a URL in its plain form, and the port. Errors: ErrForbidden.
func destination(u *url.URL) (host string, port uint16, err error) {
	switch u.Scheme {
	case "http":
		port = 80
	case "https":
		port = 443
	default:
		return "", 0, ErrForbidden
	}
	if text := u.Port(); text != "" {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return "", 0, ErrForbidden
		}
		port = uint16(n)
	}
	host, dotted := strings.CutSuffix(strings.ToLower(u.Hostname()), ".")
	if host == "" || u.User != nil || u.Opaque != "" {
		return "", 0, ErrForbidden
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" || dotted {
			return "", 0, ErrForbidden
		}
		return addr.Unmap().String(), port, nil
	}
	// What ends in a number is an IPv4 address to some resolvers, in bases and lengths of their own: 0x7f.1, 2130706433.
	last := host[strings.LastIndexByte(host, '.')+1:]
	digits, hex := strings.CutPrefix(last, "0x")
	if strings.Trim(last, "0123456789") == "" || hex && strings.Trim(digits, "0123456789abcdef") == "" || strings.ContainsAny(host, ":%") {
		return "", 0, ErrForbidden
	}
	return host, port, nil
}

// dial has the address checked by the dialer, which resolves the name: there is no moment between the two.
func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		host = addr.Unmap().String()
	}
	if c.trusted[net.JoinHostPort(strings.ToLower(strings.TrimSuffix(host, ".")), port)] {
		return c.free.DialContext(ctx, network, address)
	}
	return c.guarded.DialContext(ctx, network, address)
}

func (c *Client) checkPublic(_ context.Context, _, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil || !c.public(a.Addr()) {
		return ErrForbidden
	}
	ours, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("list own addresses: %w", err)
	}
	addr := plain(a.Addr())
	for _, our := range ours {
		if p, err := netip.ParsePrefix(our.String()); err == nil && p.Addr().Unmap() == addr {
			return ErrForbidden
		}
	}
	if slices.Contains(c.options.Own, addr) {
		return ErrForbidden
	}
	return nil
}

func (c *Client) checkTrusted(_ context.Context, _, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return ErrForbidden
	}
	addr := plain(a.Addr())
	if !addr.IsLoopback() && !addr.IsPrivate() && !shared.Contains(addr) && !public(addr) {
		return ErrForbidden
	}
	return nil
}
