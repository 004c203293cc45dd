package chat

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// Notice is the metadata of a message of type system: what happened to a group, for clients to say in their own words.
// Its content is the same in English, made when it is read, so that people are called as they are called now. Notices
// are nobody's news: they do not count as unread, and cannot be edited, deleted for everyone, or searched.
type Notice struct {
	Action  string   `json:"action"` // created, added, removed, left, renamed, described, pictured, promoted, demoted, timer
	By      string   `json:"by"`
	UserIDs []string `json:"userIds,omitempty"` // whom it happened to, the first fifty
	Count   int      `json:"count,omitempty"`   // how many they are
	Name    string   `json:"name,omitempty"`    // renamed: the new name
	Seconds *int64   `json:"seconds,omitempty"` // timer: 0 when it was turned off
}

const (
	system     = "system" // the type of a message that is a notice
	noticeIDs  = 50       // people a notice lists
	noticeSaid = 3        // people its sentence calls by name
)

// note stores a notice under the next number of a group; a single conversation has none, and gets nil. Call it before
// emitting what shows the conversation as it is, and hand its result to announce after that.
func (s *Service) note(tx *storage.Tx, by api.Caller, conversationID string, n Notice) (*Message, error) {
	n.By, n.Count = by.UserID, len(n.UserIDs)
	n.UserIDs = n.UserIDs[:min(len(n.UserIDs), noticeIDs)]
	metadata, err := json.Marshal(n)
	if err != nil {
		return nil, err
	}
	var kind string
	now := tx.Millis()
	m := &Message{ID: storage.NewID(), ConversationID: conversationID, Type: system, Metadata: metadata, CreatedAt: api.Millis(now), UpdatedAt: api.Millis(now)}
	if err := tx.QueryRow("SELECT type, last_n + 1 FROM conversation WHERE id = ?", conversationID).Scan(&kind, &m.N); err != nil {
		return nil, fmt.Errorf("number notice: %w", err)
	}
	if kind != "group" {
		return nil, nil
	}
	m.fill()
	m.Sender.ID = by.UserID
	if _, err := tx.Exec("INSERT INTO message (conversation_id, n, id, sender_id, type, metadata, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		m.ConversationID, m.N, m.ID, m.Sender.ID, m.Type, column(m.Metadata), now, now); err != nil {
		return nil, fmt.Errorf("store notice: %w", err)
	}
	if _, err := tx.Exec("UPDATE conversation SET last_n = ?, last_message_at = ? WHERE id = ?", m.N, now, conversationID); err != nil {
		return nil, fmt.Errorf("count notice: %w", err)
	}
	return m, people(tx, "", m)
}

// announce tells the members of notices.
func (s *Service) announce(tx *storage.Tx, by api.Caller, notices ...*Message) error {
	for _, m := range notices {
		if m == nil {
			continue
		}
		if _, err := s.events.Emit(tx, event.Event{
			Kind: MessageNew, Scope: event.ScopeConversation, ScopeID: m.ConversationID, SubjectID: m.ID, ActorID: by.UserID,
		}, m); err != nil {
			return err
		}
	}
	return nil
}

// noticeOf reads the notice in a message, nil when it is none.
func noticeOf(m *Message) *Notice {
	n := &Notice{}
	if m.Type != system || json.Unmarshal(m.Metadata, n) != nil {
		return nil
	}
	return n
}

// named are the people whom the sentence of a notice calls by name.
func (n *Notice) named() []string { return n.UserIDs[:min(len(n.UserIDs), noticeSaid)] }

// sentence says in English what happened.
func (n *Notice) sentence(known map[string]account.Public) string {
	by, ids := known[n.By].DisplayName, n.named()
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = known[id].DisplayName
	}
	if more := n.Count - len(ids); more == 1 {
		names = append(names, "one more")
	} else if more > 1 {
		names = append(names, fmt.Sprint(more, " others"))
	}
	whom := strings.Join(names, " and ")
	if len(names) > 2 {
		whom = strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
	}
	switch n.Action {
	case "created":
		return by + " created the group"
	case "added", "removed":
		return by + " " + n.Action + " " + whom
	case "left":
		return by + " left"
	case "renamed":
		return by + " named the group “" + n.Name + "”"
	case "described":
		return by + " changed the description"
	case "pictured":
		return by + " changed the picture"
	case "promoted":
		return whom + " is now an admin"
	case "demoted":
		return whom + " is no longer an admin"
	case "timer":
		return by + " " + timerSentence(n.Seconds)
	}
	return by + " changed the group"
}

func timerSentence(seconds *int64) string {
	if seconds == nil || *seconds <= 0 {
		return "turned off disappearing messages"
	}
	unit, n := "seconds", *seconds
	for _, u := range []struct {
		name string
		long int64
	}{{"days", 86400}, {"hours", 3600}, {"minutes", 60}} {
		if *seconds%u.long == 0 {
			unit, n = u.name, *seconds/u.long
			break
		}
	}
	if n == 1 {
		unit = strings.TrimSuffix(unit, "s")
	}
	return fmt.Sprintf("made messages disappear after %d %s", n, unit)
}

// looks are what a group is called and shown by.
type looks struct {
	name, description string
	avatar            *string // its path
}

func looksOf(q storage.Querier, conversationID string) (l looks, err error) {
	err = q.QueryRow("SELECT coalesce(name, ''), coalesce(description, ''), avatar FROM conversation WHERE id = ?", conversationID).Scan(&l.name, &l.description, &l.avatar)
	if err != nil {
		return l, fmt.Errorf("read looks of conversation: %w", err)
	}
	return l, nil
}

// noteChanges stores a notice of each thing about a group that is not as it was.
func (s *Service) noteChanges(tx *storage.Tx, by api.Caller, conversationID string, old looks) (notices []*Message, err error) {
	now, err := looksOf(tx, conversationID)
	if err != nil {
		return nil, err
	}
	for _, change := range []struct {
		changed bool
		notice  Notice
	}{
		{now.name != old.name, Notice{Action: "renamed", Name: now.name}},
		{now.description != old.description, Notice{Action: "described"}},
		{!equal(now.avatar, old.avatar), Notice{Action: "pictured"}},
	} {
		if change.changed {
			m, err := s.note(tx, by, conversationID, change.notice)
			if err != nil {
				return nil, err
			}
			notices = append(notices, m)
		}
	}
	return notices, nil
}
