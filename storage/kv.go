package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/nutsdb/nutsdb"
)

// Cache keeps what has a lifetime and may be lost: counters of limits, one-time codes, tickets. Nothing in it is
// synced; losing it never loses a message, a session or a setting. Lifetimes are whole seconds. Keep it under about
// 200,000 keys: every key is in memory as well.
type Cache struct{ db *nutsdb.DB }

// cacheBucket is the one bucket; keys carry their own prefixes.
const cacheBucket = "c"

// OpenCache opens the cache in dir. One that cannot be opened (a torn last record fails the whole store) is set aside
// as dir.broken and an empty one takes its place; recreated says so.
func OpenCache(dir string, log *slog.Logger) (c *Cache, recreated bool, err error) {
	c, err = openCache(dir)
	if err == nil {
		return c, false, nil
	}
	log.Warn("cache could not be opened and is set aside", "error", err)
	aside := dir + ".broken"
	if err := os.RemoveAll(aside); err != nil {
		return nil, false, fmt.Errorf("set cache aside: %w", err)
	}
	if err := os.Rename(dir, aside); err != nil {
		return nil, false, fmt.Errorf("set cache aside: %w", err)
	}
	c, err = openCache(dir)
	return c, true, err
}

func openCache(dir string) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make cache directory: %w", err)
	}
	// FileIO: in MMap mode nutsdb does not sync and panics on reopen after a kill (measured, libraries 3c).
	options := nutsdb.DefaultOptions
	options.ExpiredDeleteType = nutsdb.TimeHeap // the wheel wakes up a hundred times a second: 1.5 % of a core at rest
	db, err := nutsdb.Open(options, nutsdb.WithDir(filepath.Clean(dir)), nutsdb.WithRWMode(nutsdb.FileIO),
		nutsdb.WithSyncEnable(false), nutsdb.WithSegmentSize(4<<20), nutsdb.WithEntryIdxMode(nutsdb.HintKeyValAndRAMIdxMode))
	if err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	err = db.Update(func(tx *nutsdb.Tx) error {
		if tx.ExistBucket(nutsdb.DataStructureBTree, cacheBucket) {
			return nil
		}
		return tx.NewBucket(nutsdb.DataStructureBTree, cacheBucket)
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare cache: %w", err), db.Close())
	}
	return &Cache{db}, nil
}

// Close closes the cache.
func (c *Cache) Close() error { return c.db.Close() }

// Set stores value under key for ttl, rounded up to seconds.
func (c *Cache) Set(key string, value []byte, ttl time.Duration) error {
	return c.db.Update(func(tx *nutsdb.Tx) error {
		return tx.Put(cacheBucket, []byte(key), value, seconds(ttl))
	})
}

// Get returns the value under key, or nil.
func (c *Cache) Get(key string) (value []byte, err error) {
	err = c.db.View(func(tx *nutsdb.Tx) error {
		value, err = tx.Get(cacheBucket, []byte(key))
		return err
	})
	return value, absent(err)
}

// Take returns the value under key and removes it, as one step: the first caller gets it, the others nil.
func (c *Cache) Take(key string) (value []byte, err error) {
	err = c.db.Update(func(tx *nutsdb.Tx) error {
		value, err = tx.Get(cacheBucket, []byte(key))
		if err != nil {
			return err
		}
		return tx.Delete(cacheBucket, []byte(key))
	})
	if err != nil {
		value = nil
	}
	return value, absent(err)
}

// Delete removes key.
func (c *Cache) Delete(key string) error {
	return absent(c.db.Update(func(tx *nutsdb.Tx) error { return tx.Delete(cacheBucket, []byte(key)) }))
}

// Count adds one to the counter under key and returns its value and the time left until it starts anew. The first
// count of a window sets its length.
func (c *Cache) Count(key string, window time.Duration) (count int64, left time.Duration, err error) {
	err = c.db.Update(func(tx *nutsdb.Tx) error {
		now := time.Now()
		var ends int64
		count = 0
		old, err := tx.Get(cacheBucket, []byte(key))
		if err == nil && len(old) == 16 {
			count, ends = int64(binary.BigEndian.Uint64(old)), int64(binary.BigEndian.Uint64(old[8:]))
		} else if err != nil && absent(err) != nil {
			return err
		}
		if ends <= now.UnixMilli() {
			count, ends = 0, now.Add(window).UnixMilli()
		}
		count++
		left = time.UnixMilli(ends).Sub(now)
		value := make([]byte, 16)
		binary.BigEndian.PutUint64(value, uint64(count))
		binary.BigEndian.PutUint64(value[8:], uint64(ends))
		return tx.Put(cacheBucket, []byte(key), value, seconds(left))
	})
	return count, left, err
}

func seconds(d time.Duration) uint32 { return uint32(max(1, (d+time.Second-1)/time.Second)) }

// absent turns the several ways in which nutsdb says "no such key" into nil.
func absent(err error) error {
	if errors.Is(err, nutsdb.ErrKeyNotFound) || errors.Is(err, nutsdb.ErrNotFoundKey) || nutsdb.IsKeyNotFound(err) || nutsdb.IsBucketNotFound(err) {
		return nil
	}
	return err
}
