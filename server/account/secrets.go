package account

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// SecretsFile is the name of the file of secrets inside the data directory.
const SecretsFile = "secrets.json"

// Secrets are the keys of one installation, 32 bytes each. Losing them signs everybody out and makes the encrypted
// columns unreadable.
type Secrets struct {
	Signing []byte `json:"signingKey"` // access tokens
	Refresh []byte `json:"refreshKey"` // refresh tokens
	Field   []byte `json:"fieldKey"`   // encrypted columns
	TURN    []byte `json:"turnSecret"` // time-limited TURN credentials
	Media   []byte `json:"mediaKey"`   // capabilities in the addresses of media
}

const secretLength = 32

// LoadSecrets reads the secrets of the data directory dir, making those that are missing. The file is replaced as a
// whole, is readable by its owner only, and keeps entries that this binary does not know. A damaged file is an error:
// new keys in its place would make the encrypted columns unreadable for good.
func LoadSecrets(dir string) (Secrets, error) {
	var s Secrets
	path := filepath.Join(dir, SecretsFile)
	entries := map[string]json.RawMessage{}
	raw, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return s, fmt.Errorf("read secrets: %w", err)
	default:
		if err := json.Unmarshal(raw, &entries); err != nil {
			return s, fmt.Errorf("read secrets: %s is damaged, restore it from a backup: %w", path, err)
		}
		if err := os.Chmod(path, 0o600); err != nil {
			return s, fmt.Errorf("protect secrets: %w", err)
		}
	}
	missing := false
	for name, key := range map[string]*[]byte{"signingKey": &s.Signing, "refreshKey": &s.Refresh, "fieldKey": &s.Field, "turnSecret": &s.TURN, "mediaKey": &s.Media} {
		if value, ok := entries[name]; ok {
			if err := json.Unmarshal(value, key); err != nil || len(*key) < secretLength {
				return s, fmt.Errorf("read secrets: %s in %s is damaged, restore it from a backup", name, path)
			}
			continue
		}
		missing = true
		*key = make([]byte, secretLength)
		_, _ = rand.Read(*key) // never fails: crypto/rand ends the process instead
		if entries[name], err = json.Marshal(*key); err != nil {
			return s, fmt.Errorf("write secrets: %w", err)
		}
	}
	if !missing {
		return s, nil
	}
	raw, err = json.MarshalIndent(entries, "", "  ")
	if err != nil {
		return s, fmt.Errorf("write secrets: %w", err)
	}
	if err := replaceFile(path, append(raw, '\n')); err != nil {
		return s, fmt.Errorf("write secrets: %w", err)
	}
	return s, nil
}

// replaceFile puts data at path whole or not at all, and on disk before it returns.
func replaceFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".secrets-*") // made with mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
