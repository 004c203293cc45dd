package chat

import (
	"fmt"
	"slices"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/media"
	"github.com/quckchat/quckchat/storage"
)

// The files of a message are uploads: the package media stores them, names them, and says who may fetch them. A message
// says which of them it shows, and takes them with it when it goes.

// attached is how many attachments a draft has.
func (d *draft) attached() int { return max(len(d.attachments), d.copies) }

// attach shows the files of a draft with the message that was made of it.
func (s *Service) attach(tx *storage.Tx, by api.Caller, m *Message, d *draft) (err error) {
	var list []Attachment
	switch m.attached = d.attached(); {
	case m.attached == 0:
		return nil
	case d.original != nil:
		list, err = s.media.Copy(tx, m.ConversationID, m.ID, *d.original)
	default:
		list, err = s.media.Attach(tx, by, m.ConversationID, m.ID, d.attachments)
	}
	m.Attachments = append(m.Attachments, list...)
	return err
}

// shows reports whether a message that is there has the attachments of a draft.
func (d *draft) shows(list []Attachment) bool {
	return slices.EqualFunc(d.attachments, list, func(r media.Ref, a Attachment) bool { return r.Name == a.NameOf() })
}

// addAttachments fills in the files of messages. Pages without any cost no query.
func addAttachments(q storage.Querier, list []*Message) error {
	with := map[string]string{}
	for _, m := range list {
		if m.attached > 0 {
			with[m.ID] = m.ConversationID
		}
	}
	if len(with) == 0 {
		return nil
	}
	found, err := media.Attachments(q, with)
	if err != nil {
		return err
	}
	for _, m := range list {
		if files := found[m.ID]; len(files) > 0 {
			m.Attachments = files
		}
	}
	return nil
}

// unsign takes the keys to files out of messages that somebody who is told of them late no longer sees: they were told of
// them while they were there, and are not let in again and again.
func unsign(q storage.Querier, viewer string, list []*Message) error {
	var ids []string
	for _, m := range list {
		if m.attached > 0 && viewer != "" {
			ids = append(ids, m.ID)
		}
	}
	seen := map[string]bool{}
	for _, chunk := range storage.Chunks(ids) {
		marks, args := storage.In(chunk)
		rows, err := q.Query(`SELECT x.id FROM message x CROSS JOIN member m WHERE x.id IN (`+marks+`) AND m.conversation_id = x.conversation_id
			AND m.user_id = ? AND m.left_seq IS NULL AND x.n > m.history_from_n`, append(args, viewer)...)
		if err != nil {
			return fmt.Errorf("find who sees files: %w", err)
		}
		found, err := storage.ScanIDs(rows)
		if err != nil {
			return fmt.Errorf("find who sees files: %w", err)
		}
		for _, id := range found {
			seen[id] = true
		}
	}
	for _, m := range list {
		if m.attached > 0 && viewer != "" && !seen[m.ID] {
			for i := range m.Attachments {
				m.Attachments[i] = m.Attachments[i].Unsigned()
			}
		}
	}
	return nil
}

// release lets go of the files of messages that lose their text.
func (s *Service) release(tx *storage.Tx, ids []string) error {
	var gone []string
	for _, chunk := range storage.Chunks(ids) {
		marks, args := storage.In(chunk)
		rows, err := tx.Query("SELECT x.id FROM message x JOIN conversation c ON c.id = x.conversation_id WHERE x.attached > 0 AND x.legal_hold = 0 AND c.legal_hold = 0 AND x.id IN ("+marks+")", args...)
		if err != nil {
			return fmt.Errorf("release attachments: %w", err)
		}
		found, err := storage.ScanIDs(rows)
		if err != nil {
			return fmt.Errorf("release attachments: %w", err)
		}
		gone = append(gone, found...)
	}
	return s.media.Release(tx, gone)
}
