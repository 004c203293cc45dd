package chat

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// FindInput is a search.
type FindInput struct {
	Q              string `query:"q" maxLength:"256" required:"true"`
	ConversationID string `query:"conversationId"`
	Type           string `query:"type"`
	Limit          int    `query:"limit" minimum:"1" maximum:"100" default:"20"`
	Skip           int    `query:"skip" minimum:"0" maximum:"10000"`
	StartDate      string `query:"startDate" doc:"ISO 8601"`
	EndDate        string `query:"endDate" doc:"ISO 8601"`
}

// Found is the answer of a search, newest first. Items repeats Messages under the name the mobile client reads.
// Total stops counting at 1,000. Current is false while the index is more than a second behind.
type Found struct {
	Messages []*Message `json:"messages"`
	Items    []*Message `json:"items"`
	Total    int        `json:"total"`
	Current  bool       `json:"current"`
}

// Find searches the caller's own conversations for messages with all the words. The last word may be unfinished.
// Codes: CONVERSATION_NOT_FOUND, VALIDATION.
func (s *Service) Find(ctx context.Context, by api.Caller, in *FindInput) (*Found, error) {
	out := &Found{Messages: []*Message{}, Items: []*Message{}, Current: true}
	from, to, err := period(in.StartDate, in.EndDate)
	if err != nil {
		return nil, err
	}
	floors, err := s.searchable(ctx, by, in.ConversationID)
	match := matchWords(in.Q)
	if err != nil || match == "" || len(floors) == 0 {
		return out, err
	}
	ids := make([]string, 0, len(floors))
	for id := range floors {
		ids = append(ids, id)
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	var hits []string
	err = s.search.index.Read(ctx, func(v storage.View) error {
		rows, err := v.Query(`SELECT d.message_id, d.conversation_id, d.n FROM word JOIN doc d ON d.id = word.rowid
			WHERE word MATCH ? AND d.conversation_id IN (SELECT value FROM json_each(?)) AND (? = '' OR d.type = ?) AND d.created_at BETWEEN ? AND ?
			ORDER BY word.rowid DESC`, match, string(list), in.Type, in.Type, from, to)
		if err != nil {
			return fmt.Errorf("search: %w", err)
		}
		defer rows.Close()
		for out.Total < foundMax+in.Skip && rows.Next() {
			var id, conversation string
			var n int64
			if err := rows.Scan(&id, &conversation, &n); err != nil {
				return fmt.Errorf("search: %w", err)
			}
			if n <= floors[conversation] {
				continue
			}
			if out.Total >= in.Skip && len(hits) < in.Limit {
				hits = append(hits, id)
			}
			out.Total++
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	err = s.db.Read(ctx, func(v storage.View) error {
		found, err := messagesByID(v, hits)
		if err != nil {
			return err
		}
		hidden, err := hiddenFrom(v, by.UserID, hits)
		if err != nil {
			return err
		}
		for _, id := range hits {
			if m := found[id]; m != nil && !m.IsDeleted && !hidden[id] {
				out.Messages = append(out.Messages, m)
			}
		}
		return completeFor(v, by.UserID, out.Messages, func(m, r *Message) bool { return r.N > floors[m.ConversationID] })
	})
	out.Items = out.Messages
	if seq, seqErr := s.search.Seq(ctx); seqErr == nil {
		out.Current = s.search.events.Committed()-seq < indexLag
	}
	return out, err
}

// searchable returns the conversations to search, each with the number up to which the caller sees nothing.
func (s *Service) searchable(ctx context.Context, by api.Caller, conversationID string) (map[string]int64, error) {
	floors := map[string]int64{}
	err := s.db.Read(ctx, func(v storage.View) error {
		if conversationID != "" {
			at, err := memberOf(v, by, conversationID)
			floors[conversationID] = at.floor
			return err
		}
		rows, err := v.Query("SELECT conversation_id, max(history_from_n, clear_n) FROM member WHERE user_id = ? AND left_seq IS NULL", by.UserID)
		if err != nil {
			return fmt.Errorf("list searchable: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var id string
			var floor int64
			if err := rows.Scan(&id, &floor); err != nil {
				return err
			}
			floors[id] = floor
		}
		return rows.Err()
	})
	return floors, err
}

// matchWords turns what somebody typed into an FTS5 expression: every word, the last one as a prefix. Nothing they
// type is syntax.
func matchWords(q string) string {
	words := strings.FieldsFunc(q, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.IsMark(r) })
	if len(words) == 0 {
		return ""
	}
	return `"` + strings.Join(words, `" "`) + `"*`
}

// period reads the bounds of a search in milliseconds.
func period(start, end string) (from, to int64, err error) {
	from, to = 0, 1<<62
	parse := func(field, text string, into *int64, wholeDay time.Duration) error {
		if text == "" {
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
