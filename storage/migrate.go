package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// migrate brings the schema to the newest version. Each step is one transaction that ends with the new version
// number. Before the first step on a file that holds data a snapshot is taken beside it; going back is putting that
// file in its place.
func (db *DB) migrate(w *writer) error {
	steps, err := fs.Glob(db.opts.Migrations, "*.sql")
	if err != nil {
		return fmt.Errorf("list migrations: %w", err)
	}
	var version int
	if err := w.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return fmt.Errorf("read schema version of %s: %w", db.opts.Path, mapError(err))
	}
	if version > len(steps) {
		return fmt.Errorf("%s was written by a newer quckchat (schema %d, this binary knows %d): start the newer binary, or restore the snapshot taken before its upgrade", filepath.Base(db.opts.Path), version, len(steps))
	}
	if version == len(steps) {
		return nil
	}
	if version > 0 && !db.opts.Rebuildable {
		if err := db.snapshot(w, version); err != nil {
			return err
		}
	}
	if version == 0 {
		err = db.step(w, steps, len(steps)) // a new file: one commit
	}
	for i := version; i < len(steps) && version > 0 && err == nil; i++ {
		err = db.step(w, steps[i:i+1], i+1)
	}
	if err != nil {
		return err
	}
	db.opts.Log.Info("schema migrated", "file", filepath.Base(db.opts.Path), "from", version, "to", len(steps))
	return nil
}

// step runs migrations in one transaction that ends at the given version.
func (db *DB) step(w *writer, names []string, version int) error {
	var script strings.Builder
	script.WriteString("BEGIN IMMEDIATE;\n")
	for _, name := range names {
		text, err := fs.ReadFile(db.opts.Migrations, name)
		if err != nil {
			return err
		}
		script.Write(append(text, '\n'))
	}
	fmt.Fprintf(&script, "PRAGMA user_version = %d;\nCOMMIT;", version)
	if _, err := w.raw.ExecContext(bg, script.String()); err != nil {
		_, _ = w.raw.ExecContext(bg, "ROLLBACK")
		return fmt.Errorf("migration %s: %w (the data is as it was)", path.Base(names[len(names)-1]), mapError(err))
	}
	return nil
}

// The names of snapshots: backups/before-schema-N-TIME.db.
const (
	snapshotDir    = "backups"
	snapshotPrefix = "before-schema-"
	snapshotTime   = "20060102T150405Z"
)

// snapshot writes the database as it is to a file of its own, whole or not at all.
func (db *DB) snapshot(w *writer, version int) error {
	dir := filepath.Join(db.Dir(), snapshotDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make snapshot directory: %w", err)
	}
	name := fmt.Sprintf("%s%d-%s.db", snapshotPrefix, version+1, db.Now().Format(snapshotTime))
	final := filepath.Join(dir, name)
	temporary := final + ".part"
	_ = os.Remove(temporary)
	start := time.Now()
	if _, err := w.raw.ExecContext(bg, "VACUUM INTO ?", temporary); err != nil {
		return errors.Join(fmt.Errorf("snapshot before migration: %w", mapError(err)), os.Remove(temporary))
	}
	if err := os.Rename(temporary, final); err != nil {
		return fmt.Errorf("keep snapshot: %w", err)
	}
	db.opts.Log.Info("snapshot taken before migration", "name", name, "took", time.Since(start))
	return nil
}

// PruneSnapshots removes the snapshots that are older than keep, and what is left of some that were never finished: they
// still hold what was deleted since. Their age is that of their name.
func (db *DB) PruneSnapshots(keep time.Duration) error {
	dir := filepath.Join(db.Dir(), snapshotDir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	var errs []error
	for _, entry := range entries {
		rest, ok := strings.CutPrefix(entry.Name(), snapshotPrefix)
		if !ok {
			continue
		}
		_, stamp, _ := strings.Cut(rest, "-")
		whole := strings.TrimSuffix(stamp, ".part")
		at, err := time.Parse(snapshotTime+".db", whole)
		if err != nil || whole == stamp && db.Now().Sub(at) < keep {
			continue
		}
		if err := os.Remove(filepath.Join(dir, entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove snapshot: %w", err))
			continue
		}
		db.opts.Log.Info("old snapshot removed", "name", entry.Name())
	}
	return errors.Join(errs...)
}

// Schema returns the definition of every table and index, in creation order: the data model on one page.
func (db *DB) Schema() (string, error) {
	var b strings.Builder
	err := db.Read(bg, func(v View) error {
		b.Reset()
		rows, err := v.Query("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY rowid")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var text string
			if err := rows.Scan(&text); err != nil {
				return err
			}
			b.WriteString(text + ";\n\n")
		}
		return rows.Err()
	})
	return b.String(), err
}
