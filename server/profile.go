package server

import (
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/quckchat/quckchat/server/api"
)

// profile serves Go's profiles on the admin socket alone; elsewhere there is nothing at this address:
//
//	curl --unix-socket data/quckchat.sock http://quckchat/debug/pprof/profile?seconds=10 > cpu.pb.gz
func (s *Server) profile(w http.ResponseWriter, r *http.Request) {
	if localUser(r.Context()) == "" {
		s.table.Fail(w, r, api.E("ROUTE_NOT_FOUND"))
		return
	}
	switch name := strings.TrimPrefix(r.URL.Path, "/debug/pprof/"); name {
	case "profile":
		pprof.Profile(w, r)
	case "trace":
		pprof.Trace(w, r)
	default:
		pprof.Handler(name).ServeHTTP(w, r)
	}
}
