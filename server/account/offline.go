package account

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/quckchat/quckchat/server/config"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// Offline opens the accounts of a data directory that no server has open, for the command line. The caller holds the
// lock of the directory, and calls close when done. Nobody can sign in meanwhile.
func Offline(cfg *config.Live) (s *Service, close func() error, err error) {
	dir := cfg.Get().Data
	secrets, err := LoadSecrets(dir)
	if err != nil {
		return nil, nil, err
	}
	events := event.New(slog.New(slog.DiscardHandler))
	db, err := storage.Open(storage.Options{Path: filepath.Join(dir, storage.FileName)})
	if err != nil {
		return nil, nil, err
	}
	if err := events.Attach(db); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("read event log: %w", err), db.Close())
	}
	s = New(Options{DB: db, Events: events, Config: cfg, Secrets: secrets})
	events.Register(s.Events()...)
	return s, db.Close, nil
}
