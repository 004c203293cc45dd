package storage

import (
	"database/sql"
	"encoding/binary"
	"errors"
	"math/bits"
	"os"
	"time"
)

// What SQL deletes is gone for those who ask, not from the disk. With secure_delete the place of a deleted row is
// overwritten with zeros, and two kinds of copies are left:
//
//   - in the write-ahead log, until the log is cut to nothing: a checkpoint copies pages, it removes none;
//   - in the unused middle of pages. When SQLite deals the rows of a full page out to its neighbours, it moves their
//     bytes without clearing where they were: one deleted row in a thousand stays readable that way (measured).
//
// So forgetting is: copy the log back, clear the unused middle of every page that was written since it was last
// looked at, and cut the log to nothing. The numbers of those pages are in the log itself; they are noted before it
// starts anew. After a start nothing is known, and every page is looked at once.
//
// Copies that the disk or the file system keeps by itself are out of reach.

const (
	forgetAfter = time.Second // gathers deletions
	forgetEvery = 5 * time.Second
	forgetPages = 256 // looked at in one step, some milliseconds
	forgetPause = 10 * time.Millisecond
	forgetWrite = 32 // pages cleared in one write
	forgetRetry = 50 * time.Millisecond
	forgetSlow  = time.Minute // then it is said that somebody reads for too long
)

// Forget asks that nothing of what was deleted so far stays on disk: neither in the file nor in its log. It returns at
// once and may be called from Tx.OnCommit; the work begins about a second later and holds no write up for long.
func (db *DB) Forget() {
	select {
	case db.forgets <- struct{}{}:
	default: // asked already
	}
}

// forget does the next step and returns the pause before the one after it; no more when all is forgotten.
func (k *keeper) forget() (pause time.Duration, more bool) {
	switch {
	case k.suspect == nil:
		if _, err := k.passive(); err != nil {
			return k.again(err)
		}
		var count int64
		if err := k.copy.QueryRow("PRAGMA page_count").Scan(&count); err != nil {
			return k.again(err)
		}
		k.suspect = k.seen.take(count)
		return forgetPause, true
	case len(k.suspect) > 0:
		if err := k.clear(k.suspect.next(forgetPages)); err != nil {
			k.seen.all = true // some are not cleared: the next time looks at every page
			return k.again(err)
		}
		return forgetPause, true
	}
	if done, err := k.emptyLog(); err != nil || !done {
		return k.again(err)
	}
	k.suspect, k.pause, k.since = nil, 0, time.Time{}
	return 0, false
}

// emptyLog cuts the log to nothing: first without holding up a write, so that the rest is short.
func (k *keeper) emptyLog() (done bool, err error) {
	if _, err = k.passive(); err == nil {
		done, err = k.anew("TRUNCATE")
	}
	if err != nil {
		k.db.opts.Log.Warn("empty write-ahead log", "error", mapError(err))
	}
	return done, err
}

// again waits longer each time.
func (k *keeper) again(err error) (pause time.Duration, more bool) {
	now := time.Now()
	if k.since.IsZero() {
		k.since = now
	}
	if k.pause = min(max(2*k.pause, forgetRetry), forgetEvery); now.Sub(k.since) > forgetSlow {
		k.db.opts.Log.Warn("deleted text is still in the write-ahead log: is somebody reading for long?", "since", k.since, "error", err)
		k.since = now
	}
	return k.pause, true
}

const readPage = "SELECT data FROM sqlite_dbpage WHERE pgno = ?"

// clear zeroes what the pages do not use. Those where something stands are read again by the writer and written through
// its transaction, like everything else.
func (k *keeper) clear(numbers []uint32) error {
	var dirty []uint32
	var page []byte
	for _, n := range numbers {
		if err := k.copy.QueryRow(readPage, n).Scan(&page); errors.Is(err, sql.ErrNoRows) {
			continue // the file has become shorter
		} else if err != nil {
			return err
		}
		if clearUnused(page) {
			dirty = append(dirty, n)
		}
	}
	for len(dirty) > 0 {
		now := dirty[:min(len(dirty), forgetWrite)]
		dirty = dirty[len(now):]
		err := k.db.Write(bg, "storage.forget", func(tx *Tx) error {
			for _, n := range now {
				if err := tx.QueryRow(readPage, n).Scan(&page); errors.Is(err, sql.ErrNoRows) {
					continue
				} else if err != nil {
					return err
				}
				if !clearUnused(page) {
					continue
				}
				if _, err := tx.Exec("UPDATE sqlite_dbpage SET data = ? WHERE pgno = ?", page, n); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// treePages is how many pages a file may have for clearUnused to tell pages of trees from others: an overflow page
// begins with the number of the next one, whose first byte is then at most 1.
const treePages = 1 << 25

// clearUnused zeroes the bytes between the list of cells and the cells of a page of a tree, and reports whether any
// was not zero (SQLite, "Database File Format", 1.6). Other pages, and the first, which has no text, stay as they are.
func clearUnused(page []byte) bool {
	if len(page) < 512 {
		return false
	}
	list := 8
	switch page[0] {
	case 2, 5:
		list = 12
	case 10, 13:
	default:
		return false
	}
	from := list + 2*int(binary.BigEndian.Uint16(page[3:]))
	to := int(binary.BigEndian.Uint16(page[5:]))
	if to == 0 {
		to = 1 << 16
	}
	if from > to || to > len(page) {
		return false // not a page that SQLite would read either
	}
	stood := false
	for _, b := range page[from:to] {
		if b != 0 {
			stood = true
			break
		}
	}
	clear(page[from:to])
	return stood
}

// notes are the pages that were written since they were last looked at.
type notes struct {
	all   bool // nobody knows which
	pages pages
	salt  [8]byte // names the log since it last started anew
	upTo  int64   // frames of it that are noted
}

// note adds the pages of the first frames of the log, all of them committed. The log must not start anew meanwhile
// (SQLite, "Database File Format", 4.1).
func (s *notes) note(path string, frames int64) {
	if s.all || frames <= 0 {
		return
	}
	log, err := os.Open(path + "-wal") // SQLite's locks are not on this file, so that it may be opened and closed
	if err != nil {
		s.all = true
		return
	}
	defer log.Close()
	var head [32]byte
	if _, err := log.ReadAt(head[:], 0); err != nil {
		s.all = true
		return
	}
	size, salt := int64(binary.BigEndian.Uint32(head[8:])), [8]byte(head[16:24])
	known := salt == s.salt
	if !known {
		s.salt, s.upTo = salt, 0
	}
	var frame [24]byte
	at := s.upTo
	for ; at < frames; at++ {
		if _, err := log.ReadAt(frame[:], 32+at*(24+size)); err != nil {
			s.all = true
			return
		}
		if [8]byte(frame[8:16]) != salt {
			break
		}
		s.pages.add(binary.BigEndian.Uint32(frame[:]))
	}
	if known { // otherwise the count may be of the log before; noting twice does no harm
		s.upTo = at
	}
}

// take returns the noted pages of a file of count pages, and begins anew.
func (s *notes) take(count int64) pages {
	taken := s.pages
	if s.all {
		taken = nil
		for n := uint32(1); int64(n) <= count; n++ {
			taken.add(n)
		}
	}
	if s.all, s.pages = false, nil; taken == nil || count >= treePages {
		taken = pages{}
	}
	return taken
}

// pages is a set of page numbers: bit n%64 of word n/64.
type pages []uint64

func (p *pages) add(n uint32) {
	for int(n/64) >= len(*p) {
		*p = append(*p, 0)
	}
	(*p)[n/64] |= 1 << (n % 64)
}

// next takes up to most pages out of the set, the highest first; the set is empty when its length is 0.
func (p *pages) next(most int) (numbers []uint32) {
	for len(*p) > 0 && len(numbers) < most {
		last := len(*p) - 1
		word := (*p)[last]
		if word == 0 {
			*p = (*p)[:last]
			continue
		}
		bit := bits.Len64(word) - 1
		(*p)[last] = word &^ (1 << bit)
		numbers = append(numbers, uint32(last*64+bit))
	}
	return numbers
}
