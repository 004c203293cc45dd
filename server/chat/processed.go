package chat

import (
	"context"
	"fmt"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/server/job"
	"github.com/quckchat/quckchat/storage"
)

// A message may be sent before its files are looked at. When that ends, its members get the message once more, with what is
// known by then: sizes, thumbnails, lengths, or that a file is gone. It does not count as edited. A file may be shown by
// hundreds of messages, so a job tells, a few messages at a time.

// MessageMedia is the kind of event that tells what has become of the files of a message.
const MessageMedia = "message:media"

// Processed is the payload of message:media: the message as it is now.
type Processed struct {
	*Message
	MessageID string `json:"messageId"`
}

// View is the message; the web client knows it by its id.
func (p Processed) View(d api.Dialect) any { return p.Message.web(d) }

const (
	processedKind  = "message.media"
	processedDelay = 200 * time.Millisecond // files of a message that are done soon after one another are told once
	showingBatch   = 20                     // messages that are told of in one transaction
)

type showingPayload struct {
	Upload string `json:"upload"`
}

// processed has the members of every message that shows an upload told what became of it.
func (s *Service) processed(tx *storage.Tx, uploadID string) error {
	var shown bool
	if err := tx.QueryRow("SELECT EXISTS (SELECT 1 FROM attachment WHERE upload_id = ?)", uploadID).Scan(&shown); err != nil {
		return fmt.Errorf("find what shows a file: %w", err)
	}
	if !shown {
		return nil
	}
	return s.jobs.Enqueue(tx, job.Job{Kind: processedKind, Key: uploadID, Payload: showingPayload{uploadID}, RunAt: tx.Now.Add(processedDelay)})
}

// siblingsLater leaves a message to the job of another of its files, which waits to run: these jobs run one at a time.
const siblingsLater = ` AND NOT EXISTS (SELECT 1 FROM attachment o JOIN job j ON j.kind = '` + processedKind + `' AND j.key = o.upload_id
	WHERE o.message_id = a.message_id AND o.upload_id <> a.upload_id AND j.state = 'ready')`

func (s *Service) tellProcessed(ctx context.Context, j job.Job) error {
	return s.eachShowing(ctx, j, siblingsLater, func(tx *storage.Tx, _ string, list []*Message) error {
		show, err := forAll(tx, list)
		if err != nil {
			return err
		}
		if err := complete(tx, list, show); err != nil {
			return err
		}
		for _, m := range list {
			late, err := newcomers(tx, m)
			if err != nil {
				return err
			}
			split, err := apart(tx, m, func(bare *Message) any { return Processed{bare, m.ID} })
			if err != nil {
				return err
			}
			if _, err := s.events.EmitApart(tx, event.Event{Kind: MessageMedia, Scope: event.ScopeConversation, ScopeID: m.ConversationID, SubjectID: m.ID},
				Processed{m, m.ID}, split, late...); err != nil {
				return err
			}
		}
		return nil
	})
}

// eachShowing calls tell with the messages that show the upload of a job, without their people, the oldest first, a few in
// each transaction. Those that are gone are left out, and those for which the condition only, of attachments a, does not hold.
func (s *Service) eachShowing(ctx context.Context, j job.Job, only string, tell func(tx *storage.Tx, uploadID string, list []*Message) error) error {
	var p showingPayload
	if err := j.Decode(&p); err != nil {
		return err
	}
	for after := ""; ; {
		var ids []string
		err := s.db.Read(ctx, func(v storage.View) error {
			rows, err := v.Query("SELECT DISTINCT a.message_id FROM attachment a WHERE a.upload_id = ? AND a.message_id > ?"+only+" ORDER BY a.message_id LIMIT ?", p.Upload, after, showingBatch)
			if err != nil {
				return err
			}
			ids, err = storage.ScanIDs(rows)
			return err
		})
		if err != nil {
			return fmt.Errorf("find what shows a file: %w", err)
		}
		if len(ids) == 0 {
			return nil
		}
		after = ids[len(ids)-1]
		err = s.db.Write(ctx, j.Kind, func(tx *storage.Tx) error {
			found, err := messagesByID(tx, ids)
			if err != nil {
				return err
			}
			var list []*Message
			for _, id := range ids {
				if m := found[id]; m != nil && !m.IsDeleted {
					list = append(list, m)
				}
			}
			return tell(tx, p.Upload, list)
		})
		if err != nil {
			return err
		}
		if err := pause(ctx, sweepBreak); err != nil {
			return err
		}
	}
}

func processedEvents() []event.Kind {
	return []event.Kind{{
		Name: MessageMedia, Doc: "The files of a message are looked at: the message as it is now, with what is known of them. It does not count as edited.", Value: Processed{},
		Render: renderMessages(func(_ event.Event, m *Message) any {
			if m.IsDeleted {
				return nil
			}
			return Processed{m, m.ID}
		}),
	}}
}
