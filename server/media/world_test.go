package media_test

import (
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/servertest"
)

// blobs are the paths of all contents on the disk.
func blobs(t *testing.T, s *servertest.Server) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(s.Dir, "media"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && len(entry.Name()) == 64 {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// eventually waits until something holds that happens in the background.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen in ten seconds")
		}
		time.Sleep(5 * time.Millisecond)
	}
}
