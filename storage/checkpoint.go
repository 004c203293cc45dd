package storage

import (
	"database/sql"
	"time"
)

const (
	pageSize        = 4096
	checkpointEvery = 500 * time.Millisecond
	checkpointBytes = 8 << 20  // copy the log back when so much waits: pages that change often are copied once
	restartBytes    = 48 << 20 // ask the writer to start the log anew when it is longer than this
)

// checkpoint copies the write-ahead log into the database from a connection of its own, so that no write waits for
// it. PASSIVE alone lets the log grow without end under steady load; then the writer starts it anew between batches.
func (db *DB) checkpoint() {
	defer close(db.resting)
	pool, err := sql.Open("sqlite", db.dsn("rw"))
	if err != nil {
		db.opts.Log.Error("open checkpointer", "error", err)
		return
	}
	defer pool.Close()
	pool.SetMaxOpenConns(1)
	// What a crash has left in the log goes back at once, in the background, and its space to the disk: first without
	// holding up a write, so that the rest is short.
	for _, mode := range []string{"PASSIVE", "TRUNCATE"} {
		if _, err := pool.ExecContext(bg, "PRAGMA wal_checkpoint("+mode+")"); err != nil {
			db.opts.Log.Warn("checkpoint at start", "error", mapError(err))
			break
		}
	}
	most := int64(checkpointBytes)
	if db.opts.Rebuildable {
		most = checkpointBytes / 8 // not worth the disk of those who keep little
	}
	for {
		select { // asleep while nothing is written
		case <-db.closing:
			return
		case <-db.wrote:
		}
		select {
		case <-db.closing:
			return
		case <-time.After(checkpointEvery):
		}
		// The file does not shrink, so its size says nothing: NOOP counts the frames that wait.
		var busy, frames, copied int64
		err := pool.QueryRowContext(bg, "PRAGMA wal_checkpoint(NOOP)").Scan(&busy, &frames, &copied)
		if err == nil && (frames-copied)*pageSize < most {
			continue
		}
		if err == nil {
			err = pool.QueryRowContext(bg, "PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &frames, &copied)
		}
		if err != nil {
			db.opts.Log.Warn("checkpoint", "error", mapError(err))
			continue
		}
		db.stats.checkpoints.Add(1)
		if frames*pageSize > restartBytes {
			db.walLong.Store(true)
		}
	}
}

// restartWAL runs on the writer between two batches: it waits briefly for readers of the old log, never for long.
func (db *DB) restartWAL(w *writer) {
	var busy, frames, copied int64
	_ = w.run("PRAGMA busy_timeout(20)")
	err := w.raw.QueryRowContext(bg, "PRAGMA wal_checkpoint(RESTART)").Scan(&busy, &frames, &copied)
	_ = w.run("PRAGMA busy_timeout(5000)")
	if err != nil {
		db.opts.Log.Warn("restart write-ahead log", "error", mapError(err))
	}
}
