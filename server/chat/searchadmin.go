package chat

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/audit"
	"github.com/quckchat/quckchat/storage"
)

// SearchStatus is the state of the search index.
type SearchStatus struct {
	State    string `json:"state"`    // ready, building (it serves what it has so far), rebuilding (the old one serves meanwhile), unavailable
	Current  bool   `json:"current"`  // a search finds everything that is older than a few seconds
	Messages int64  `json:"messages"` // in the index that serves
	Words    int64  `json:"words"`    // different ones, at least
	Bytes    int64  `json:"bytes"`    // of its file
	Behind   int64  `json:"behind"`   // events not looked at yet
	Done     int64  `json:"done"`     // messages of the index being made
	Total    int64  `json:"total"`    // about how many it will have; 0 when none is being made
	Version  int    `json:"version"`
	Problem  string `json:"problem,omitempty"` // why the last attempt to make or to follow failed
}

// searchRoutes are the operations on the index.
func (s *Service) searchRoutes() []api.Row {
	return []api.Row{
		api.Op("GET /admin/search", "search:status", api.RoleAdmin, api.TierAdmin, s.SearchStatus, api.Doc("The state of the search index.")),
		api.Op("POST /admin/search/rebuild", "search:rebuild", api.RoleSuperAdmin, api.TierAdmin, s.RebuildSearch, api.Doc("Make the search index anew, in the background; the old one serves meanwhile.")),
	}
}

// SearchStatus says how the search index is.
func (s *Service) SearchStatus(ctx context.Context, _ api.Caller, _ *struct{}) (*SearchStatus, error) {
	x := s.search
	out := &SearchStatus{State: "ready", Version: indexVersion, Done: x.done.Load(), Total: x.total.Load()}
	var seq int64
	err := x.read(ctx, func(v storage.View) error {
		return v.QueryRow("SELECT (SELECT count(*) FROM doc), (SELECT count(*) FROM term), (SELECT seq FROM progress)").Scan(&out.Messages, &out.Words, &seq)
	})
	if err != nil && !errors.Is(err, errNoIndex) {
		return nil, fmt.Errorf("read search index: %w", err)
	}
	switch {
	case err != nil:
		out.State = "unavailable"
	case x.filling.Load():
		out.State = "building"
	case x.wanted.Load():
		out.State = "rebuilding"
	}
	if err == nil {
		out.Current, out.Behind = x.current(seq), max(0, x.events.Committed()-seq)
	}
	if problem := x.problem.Load(); problem != nil {
		out.Problem = *problem
	}
	if info, err := os.Stat(x.path); err == nil {
		out.Bytes = info.Size()
	}
	return out, nil
}

// RebuildSearch has the search index made anew, unless that is going on already.
func (s *Service) RebuildSearch(ctx context.Context, by api.Caller, _ *struct{}) (*SearchStatus, error) {
	err := s.db.Write(ctx, "search.rebuild", func(tx *storage.Tx) error {
		return audit.Record(tx, by, "search_rebuild", audit.Target{}, nil, nil)
	})
	if err != nil {
		return nil, err
	}
	s.search.Rebuild()
	return s.SearchStatus(ctx, by, nil)
}
