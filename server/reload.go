package server

import (
	"context"
	"fmt"
	"maps"

	"github.com/quckchat/quckchat/storage"
)

// stored takes up the settings that an administrator has stored in the database.
func (s *Server) stored() error {
	stored := map[string]string{}
	err := s.db.Read(context.Background(), func(v storage.View) error {
		rows, err := v.Query("SELECT key, value FROM setting")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var key, value string
			if err := rows.Scan(&key, &value); err != nil {
				return err
			}
			stored[key] = value
		}
		return rows.Err()
	})
	if err != nil {
		return fmt.Errorf("read stored settings: %w", err)
	}
	if maps.Equal(stored, s.sources.Stored) || len(stored) == 0 && s.sources.Stored == nil {
		return nil
	}
	s.sources.Stored = stored
	if _, _, err := s.config.Reload(s.sources); err != nil {
		return fmt.Errorf("take up stored settings: %w", err)
	}
	return nil
}

// Reload reads the configuration and the certificate again, without dropping a socket. On an error everything stays
// as it was. What needs a restart is named in the log.
func (s *Server) Reload() error {
	changed, later, err := s.config.Reload(s.sources)
	if err != nil {
		return err
	}
	if s.certificate.Load() != nil {
		if err := s.loadCertificate(); err != nil {
			return err
		}
	}
	s.log.Info("configuration read again", "changed", changed, "needs restart", later)
	return nil
}
