package chat

import (
	"context"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/audit"
	"github.com/quckchat/quckchat/server/chat/search"
	"github.com/quckchat/quckchat/storage"
)

// searchRoutes are the operations on the index.
func (s *Service) searchRoutes() []api.Row {
	return []api.Row{
		api.Op("GET /admin/search", "search:status", api.RoleAdmin, api.TierAdmin, s.SearchStatus, api.Doc("The state of the search index.")),
		api.Op("POST /admin/search/rebuild", "search:rebuild", api.RoleSuperAdmin, api.TierAdmin, s.RebuildSearch, api.Doc("Make the search index anew, in the background; the old one serves meanwhile.")),
	}
}

// SearchStatus says how the search index is.
func (s *Service) SearchStatus(ctx context.Context, _ api.Caller, _ *struct{}) (*search.IndexStatus, error) {
	return s.search.Status(ctx)
}

// RebuildSearch has the search index made anew, unless that is going on already.
func (s *Service) RebuildSearch(ctx context.Context, by api.Caller, _ *struct{}) (*search.IndexStatus, error) {
	err := s.db.Write(ctx, "search.rebuild", func(tx *storage.Tx) error {
		return audit.Record(tx, by, "search_rebuild", audit.Target{}, nil, nil)
	})
	if err != nil {
		return nil, err
	}
	s.search.Rebuild()
	return s.search.Status(ctx)
}
