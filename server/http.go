package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/user"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzhttp"
	"golang.org/x/sys/unix"

	"github.com/quckchat/quckchat/server/api"
)

// prefix is where the REST API lives.
const prefix = "/api/v1"

// handler puts what every request passes around the routes: recovery, a request id, headers, limits, compression.
func (s *Server) handler(routes http.Handler) http.Handler {
	compress, err := gzhttp.NewWrapper(gzhttp.MinSize(1400), gzhttp.CompressionLevel(1))
	if err != nil {
		panic(err) // the options are constants
	}
	compressed := compress(routes)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Request-Id")
		if !plainID(id) {
			id = newRequestID()
		}
		ctx := context.WithValue(api.WithPath(r.Context(), r.URL.Path), requestIDKey{}, id)
		r = r.WithContext(ctx)
		h := w.Header()
		h.Set("X-Request-Id", id)
		s.headers(h, r)
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				s.log.Error("panic in request", "path", r.URL.Path, "request", id, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				s.table.Fail(w, r, api.E("INTERNAL"))
			}
		}()
		if s.cors(w, r) {
			return
		}
		if s.limit != nil && localUser(r.Context()) == "" && !strings.HasPrefix(r.URL.Path, prefix+"/health") && !s.limit.address(s.describe(r).IP) {
			s.table.Fail(w, r, api.E("RATE_LIMIT_EXCEEDED", "seconds", 1))
			return
		}
		switch r.URL.Path { // sockets take the connection over: nothing may wrap the writer
		case prefix + "/ws":
			s.hub.ServeHTTP(w, r)
			return
		case "/socket.io/", "/socket.io":
			s.hub.ServeSocketIO(w, r)
			return
		}
		if strings.HasPrefix(r.URL.Path, "/uploads/") { // the kernel sends files; what they hold is compressed already
			routes.ServeHTTP(w, r)
			return
		}
		start := time.Now()
		compressed.ServeHTTP(w, r)
		s.log.Debug("request", "method", r.Method, "path", r.URL.Path, "took", time.Since(start), "request", id)
	})
}

// headers sets what every response carries (contract 1.8). The pages set a Content-Security-Policy of their own.
func (s *Server) headers(h http.Header, r *http.Request) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Download-Options", "noopen")
	h.Set("X-Permitted-Cross-Domain-Policies", "none")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	if strings.HasPrefix(r.URL.Path, "/api/") || strings.HasPrefix(r.URL.Path, "/conversations") {
		h.Set("Cache-Control", "no-store")
	}
	if r.TLS != nil {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// cors answers preflights and names the origin when it is on the list; done means that the request is answered.
func (s *Server) cors(w http.ResponseWriter, r *http.Request) (done bool) {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	preflight := r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
	h := w.Header()
	h.Add("Vary", "Origin")
	if s.allowedOrigin(r) {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
		h.Set("Access-Control-Expose-Headers", "Content-Length, Content-Range, X-Total-Count, X-Page, X-Per-Page, X-Total-Pages, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, X-Request-Id, Retry-After, Accept-Ranges, ETag, Location, Upload-Offset, Upload-Length, Tus-Version, Tus-Resumable, Tus-Max-Size, Tus-Extension")
		if preflight {
			h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE, OPTIONS, HEAD")
			h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Device-Id, X-App-Version, X-Platform, X-Request-Id, X-CSRF-Token, Range, If-Range, If-None-Match, Upload-Length, Upload-Offset, Upload-Metadata, Tus-Resumable, X-HTTP-Method-Override")
			h.Set("Access-Control-Max-Age", "86400")
		}
	}
	if preflight {
		w.WriteHeader(http.StatusNoContent)
	}
	return preflight
}

// allowedOrigin reports whether a page of the request's origin may use the API: our own, or one on the list.
func (s *Server) allowedOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true // not a page
	}
	config := s.config.Get()
	if origin == config.PublicURL || slices.Contains(config.CORSOrigins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host == r.Host
}

type requestIDKey struct{}

// plainID reports whether a request id of a client may stand in logs and answers.
func plainID(id string) bool {
	if len(id) == 0 || len(id) > 64 {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

func newRequestID() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// describe says who sends a request as far as the connection tells.
func (s *Server) describe(r *http.Request) api.Caller {
	id, _ := r.Context().Value(requestIDKey{}).(string)
	by := api.Caller{
		IP: s.clientIP(r), UserAgent: cut(r.UserAgent(), 256), DeviceID: cut(r.Header.Get("X-Device-Id"), 128),
		Locale: cut(r.Header.Get("Accept-Language"), 35), RequestID: id, Host: cut(r.Host, 255),
	}
	if name := localUser(r.Context()); name != "" {
		by.Local, by.Role, by.IP = name, api.RoleSuperAdmin, "local"
	}
	return by
}

func cut(s string, most int) string {
	if len(s) > most {
		s = s[:most]
	}
	return strings.ToValidUTF8(s, "")
}

// clientIP is the address that limits and the audit log go by: of the connection, or, when that is a trusted proxy,
// the last address in X-Forwarded-For that is not one.
func (s *Server) clientIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if !s.config.Get().Trusts(host) {
		return host
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop := strings.TrimSpace(hops[i])
		if _, err := netip.ParseAddr(hop); err != nil {
			break
		}
		if host = hop; !s.config.Get().Trusts(hop) {
			break
		}
	}
	return host
}

type localKey struct{}

func localUser(ctx context.Context) string {
	name, _ := ctx.Value(localKey{}).(string)
	return name
}

// adminContext lets in, on the admin socket, the user who runs the server and root, and names them.
func adminContext(log *slog.Logger) func(ctx context.Context, c net.Conn) context.Context {
	return func(ctx context.Context, c net.Conn) context.Context {
		uc, ok := c.(*net.UnixConn)
		if !ok {
			return ctx
		}
		raw, err := uc.SyscallConn()
		if err != nil {
			return ctx
		}
		var cred *unix.Ucred
		if e := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); e != nil || err != nil {
			return ctx
		}
		if cred.Uid != 0 && int(cred.Uid) != os.Getuid() {
			log.Warn("admin socket: refused", "uid", cred.Uid)
			return ctx
		}
		name := "uid " + strconv.Itoa(int(cred.Uid))
		if u, err := user.LookupId(strconv.Itoa(int(cred.Uid))); err == nil {
			name = u.Username
		}
		return context.WithValue(ctx, localKey{}, name)
	}
}
