package chat

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/chat/search"
	"github.com/quckchat/quckchat/storage"
)

// FindInput is a search, in the language of docs/protocol.md.
type FindInput struct {
	Q              string `query:"q" maxLength:"256" required:"true"`
	ConversationID string `query:"conversationId"`
	Type           string `query:"type"`
	Limit          int    `query:"limit" minimum:"1" maximum:"100" default:"20"`
	Skip           int    `query:"skip" minimum:"0" maximum:"10000"`
	Cursor         string `query:"cursor" maxLength:"64" doc:"nextCursor of the page before; instead of skip"`
	Sort           string `query:"sort" enum:"newest,best" default:"newest"`
	StartDate      string `query:"startDate" doc:"ISO 8601"`
	EndDate        string `query:"endDate" doc:"ISO 8601"`
}

// Found is the answer of a search. Items repeats Messages under the name the mobile client reads; Matches says of each
// of them what to mark.
type Found struct {
	Messages   []*Message `json:"messages"`
	Items      []*Message `json:"items"`
	Matches    []Match    `json:"matches"`
	Total      int        `json:"total"`                // counted from the cursor on, up to 1,000; HasMore says if there may be more
	HasMore    bool       `json:"hasMore"`              // after this page
	NextCursor string     `json:"nextCursor,omitempty"` // of the next page
	Current    bool       `json:"current"`              // false while the index is being made or more than a few seconds behind
}

// Match says why a message was found: a piece of its text, and which parts of the piece to mark. It is plain text.
type Match struct {
	MessageID  string   `json:"messageId"`
	Snippet    string   `json:"snippet"`
	Highlights [][2]int `json:"highlights"` // start and end in UTF-16 code units, as JavaScript, Java and Swift count
}

// Find searches the caller's own conversations, the newest or the best first. Codes: CONVERSATION_NOT_FOUND, VALIDATION.
func (s *Service) Find(ctx context.Context, by api.Caller, in *FindInput) (*Found, error) {
	from, to, err := period(in.StartDate, in.EndDate)
	if err != nil {
		return nil, err
	}
	scope := search.Scope{UserID: by.UserID}
	err = s.db.Read(ctx, func(v storage.View) error {
		scope.Floors, err = searchable(v, by, in.ConversationID)
		return err
	})
	if err != nil {
		return nil, err
	}
	result, err := s.search.Find(ctx, scope, search.Request{
		Text: in.Q, Type: in.Type, From: from, To: to, Best: in.Sort == "best", Limit: in.Limit, Skip: in.Skip, Cursor: in.Cursor,
	})
	if err != nil {
		return nil, err
	}
	out := &Found{Messages: []*Message{}, Matches: []Match{}, Total: result.Total, HasMore: result.More, NextCursor: result.Next, Current: result.Current}
	err = s.db.Read(ctx, func(v storage.View) error {
		found, err := messagesByID(v, result.IDs)
		if err != nil {
			return err
		}
		for _, id := range result.IDs {
			m := found[id]
			if m == nil || m.IsDeleted {
				continue
			}
			match := Match{MessageID: id, Highlights: [][2]int{}}
			if m.Content != nil {
				snippet := result.Mark(*m.Content)
				match.Snippet, match.Highlights = snippet.Text, snippet.Highlights
			}
			out.Messages, out.Matches = append(out.Messages, m), append(out.Matches, match)
		}
		return completeFor(v, by.UserID, out.Messages, func(m, r *Message) bool { return r.N > scope.Floors[m.ConversationID] })
	})
	out.Items = out.Messages
	return out, err
}

// searchable returns the conversations to search, one or all of the caller's, each with the number up to which the
// caller sees nothing.
func searchable(q storage.Querier, by api.Caller, conversationID string) (map[string]int64, error) {
	floors := map[string]int64{}
	if conversationID != "" {
		at, err := memberOf(q, by, conversationID)
		floors[conversationID] = at.floor
		return floors, err
	}
	rows, err := q.Query("SELECT conversation_id, max(history_from_n, clear_n) FROM member WHERE user_id = ? AND left_seq IS NULL", by.UserID)
	if err != nil {
		return nil, fmt.Errorf("list searchable: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var floor int64
		if err := rows.Scan(&id, &floor); err != nil {
			return nil, fmt.Errorf("list searchable: %w", err)
		}
		floors[id] = floor
	}
	return floors, rows.Err()
}

// period reads the bounds of a search in milliseconds.
func period(start, end string) (from, to int64, err error) {
	from, to = 0, 1<<62
	parse := func(field, text string, into *int64, wholeDay time.Duration) error {
		if text = strings.TrimSpace(text); text == "" {
			return nil
		}
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			if at, err = time.Parse(time.DateOnly, text); err != nil {
				return api.Invalid(field, "expected an ISO 8601 date")
			}
			at = at.Add(wholeDay)
		}
		*into = at.UnixMilli()
		return nil
	}
	if err := parse("startDate", start, &from, 0); err != nil {
		return 0, 0, err
	}
	return from, to, parse("endDate", end, &to, 24*time.Hour-time.Millisecond)
}
