// Package audit is the record of who did what, from where, and what it was before and after.
//
// An operation calls [Record] inside its transaction: the entry exists if and only if what it tells of happened.
// Nothing ever changes or deletes an entry. Each carries a hash over all its columns and the hash of the one before
// it, so that [Verify] names the first entry that was changed, removed, inserted or moved.
//
// The hashes are no secret: whoever can write the file can also cut entries off its end, or write the whole chain
// anew. Against that, keep a [Head] somewhere else (a backup, a mail, paper) and give it to Verify later.
package audit

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// Target is what an action was done to. Both are names, never secrets; either may be empty.
type Target struct{ Kind, ID string }

// The kinds of actors.
const (
	ActorUser      = "user"
	ActorLocal     = "local"     // an operating-system user, through the command line or the admin socket
	ActorSystem    = "system"    // the server itself
	ActorAnonymous = "anonymous" // somebody not signed in
)

// Entry is one row of the record.
type Entry struct {
	ID        int64
	At        int64 // unix milliseconds
	ActorKind string
	ActorID   string // user id, or the name of the operating-system user
	Action    string
	Target    Target
	IP        string
	UserAgent string
	Before    string // JSON, or empty
	After     string
	PrevHash  string
	Hash      string
}

// userAgentMax is how many bytes of a user agent are kept: the caller writes it.
const userAgentMax = 300

// Record appends to the record that by did action to target. Before and after are stored as JSON for everybody who
// may read the record, for ever: names of what changed, never secrets or message text. Nil is nothing.
func Record(tx *storage.Tx, by api.Caller, action string, target Target, before, after any) error {
	e := Entry{ActorKind: ActorAnonymous, Action: action, Target: target, IP: by.IP, UserAgent: by.UserAgent}
	switch {
	case by.Local != "":
		e.ActorKind, e.ActorID = ActorLocal, by.Local
	case by.SignedIn():
		e.ActorKind, e.ActorID = ActorUser, by.UserID
	}
	return record(tx, e, before, after)
}

// RecordSystem appends to the record that the server itself did action to target, such as its retention.
func RecordSystem(tx *storage.Tx, action string, target Target, before, after any) error {
	return record(tx, Entry{ActorKind: ActorSystem, Action: action, Target: target}, before, after)
}

func record(tx *storage.Tx, e Entry, before, after any) (err error) {
	if e.Before, err = text(before); err != nil {
		return fmt.Errorf("record %s: %w", e.Action, err)
	}
	if e.After, err = text(after); err != nil {
		return fmt.Errorf("record %s: %w", e.Action, err)
	}
	last, err := Head(tx)
	if err != nil {
		return fmt.Errorf("record %s: %w", e.Action, err)
	}
	e.UserAgent = strings.ToValidUTF8(e.UserAgent[:min(len(e.UserAgent), userAgentMax)], "")
	e.ID, e.At, e.PrevHash = last.ID+1, tx.Millis(), last.Hash
	e.Hash = e.sum()
	_, err = tx.Exec(`INSERT INTO audit (id, at, actor_kind, actor_id, action, target_kind, target_id, ip, user_agent, before, after, prev_hash, hash)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		e.ID, e.At, e.ActorKind, e.ActorID, e.Action, e.Target.Kind, e.Target.ID, e.IP, e.UserAgent, e.Before, e.After, e.PrevHash, e.Hash)
	if err != nil {
		return fmt.Errorf("record %s: %w", e.Action, err)
	}
	return nil
}

func text(value any) (string, error) {
	if value == nil {
		return "", nil
	}
	b, err := json.Marshal(value)
	return string(b), err
}

// sum is the hash of an entry: SHA-256 over the hash before it and every other column in the order of the table, each
// preceded by its length as eight bytes, big endian; numbers are eight bytes too. So no two entries read the same.
func (e Entry) sum() string {
	h := sha256.New()
	field := func(b []byte) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
		h.Write(b)
	}
	number := func(n int64) { field(binary.BigEndian.AppendUint64(nil, uint64(n))) }
	field([]byte(e.PrevHash))
	number(e.ID)
	number(e.At)
	for _, s := range []string{e.ActorKind, e.ActorID, e.Action, e.Target.Kind, e.Target.ID, e.IP, e.UserAgent, e.Before, e.After} {
		field([]byte(s))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Mark is a place in the record: everything up to the entry ID is sealed by Hash. The zero value is its beginning.
type Mark struct {
	ID   int64  `json:"id"`
	Hash string `json:"hash"`
}

// Head returns the newest place in the record. Kept outside the data directory, it proves later that nothing up to
// it was cut off or rewritten.
func Head(q storage.Querier) (Mark, error) {
	var m Mark
	err := q.QueryRow("SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1").Scan(&m.ID, &m.Hash)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return Mark{}, fmt.Errorf("read head of the record: %w", err)
	}
	return m, nil
}

// TamperedError says which entry of the record is the first that is not as it was written.
type TamperedError struct {
	ID  int64
	Why string
}

func (e *TamperedError) Error() string { return fmt.Sprintf("audit entry %d %s", e.ID, e.Why) }

// pageSize is how many entries Verify reads at once: each page is a short read.
const pageSize = 500

// Verify reads the whole record and returns how many entries are as they were written: all of them, or those before
// the first bad one, which a *TamperedError names. Entries cut off the end are noticed only by a Mark kept from before.
func Verify(ctx context.Context, db *storage.DB, kept ...Mark) (count int64, err error) {
	hashes := map[int64]string{}
	for _, m := range kept {
		hashes[m.ID] = m.Hash
	}
	delete(hashes, 0)
	last, after := Mark{}, int64(math.MinInt64)
	for {
		if err := ctx.Err(); err != nil {
			return last.ID, err
		}
		entries, err := page(ctx, db, after)
		if err != nil {
			return last.ID, fmt.Errorf("read record: %w", err)
		}
		for _, e := range entries {
			want, marked := hashes[e.ID]
			switch {
			case e.ID < 1:
				return last.ID, &TamperedError{e.ID, "was inserted"}
			case e.ID != last.ID+1:
				return last.ID, &TamperedError{last.ID + 1, "is missing"}
			case e.PrevHash != last.Hash:
				return last.ID, &TamperedError{e.ID, "does not follow the one before it"}
			case e.Hash != e.sum():
				return last.ID, &TamperedError{e.ID, "was changed"}
			case marked && e.Hash != want:
				return last.ID, &TamperedError{e.ID, "is not the one that was kept: the record was rewritten"}
			}
			delete(hashes, e.ID)
			last, after = Mark{e.ID, e.Hash}, e.ID
		}
		if len(entries) < pageSize {
			break
		}
	}
	if len(hashes) > 0 {
		return last.ID, &TamperedError{last.ID + 1, "is missing: the end of the record was cut off"}
	}
	return last.ID, nil
}

func page(ctx context.Context, db *storage.DB, after int64) (entries []Entry, err error) {
	err = db.Read(ctx, func(v storage.View) error {
		rows, err := v.Query(`SELECT id, at, actor_kind, actor_id, action, target_kind, target_id, ip, user_agent, before, after, prev_hash, hash
			FROM audit WHERE id > ? ORDER BY id LIMIT ?`, after, pageSize)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var e Entry
			if err := rows.Scan(&e.ID, &e.At, &e.ActorKind, &e.ActorID, &e.Action, &e.Target.Kind, &e.Target.ID, &e.IP, &e.UserAgent,
				&e.Before, &e.After, &e.PrevHash, &e.Hash); err != nil {
				return err
			}
			entries = append(entries, e)
		}
		return rows.Err()
	})
	return entries, err
}
