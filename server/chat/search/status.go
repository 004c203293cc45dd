package search

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/quckchat/quckchat/storage"
)

// IndexStatus is the state of the search index.
type IndexStatus struct {
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

// Status says how the index is.
func (x *Index) Status(ctx context.Context) (*IndexStatus, error) {
	out := &IndexStatus{State: "ready", Version: formVersion, Done: x.done.Load(), Total: x.total.Load()}
	var seq int64
	err := x.read(ctx, func(v storage.View) error {
		return v.QueryRow("SELECT (SELECT count(*) FROM doc), (SELECT count(*) FROM term), (SELECT seq FROM progress)").Scan(&out.Messages, &out.Words, &seq)
	})
	if err != nil && !errors.Is(err, errNone) {
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
