package storage_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quckchat/quckchat/storage"
)

func openCache(t *testing.T, dir string) (c *storage.Cache, recreated bool) {
	t.Helper()
	c, recreated, err := storage.OpenCache(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return c, recreated
}

func value(t *testing.T, c *storage.Cache, key string) string {
	t.Helper()
	v, err := c.Get(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(v)
}

func TestTheCacheKeepsAValueForItsLifetime(t *testing.T) {
	c, _ := openCache(t, t.TempDir())
	defer c.Close()
	if v := value(t, c, "never"); v != "" {
		t.Errorf("an absent key has %q", v)
	}
	if err := c.Set("long", []byte("a"), time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := c.Set("short", []byte("b"), time.Millisecond); err != nil { // a second, the least there is
		t.Fatal(err)
	}
	if long, short := value(t, c, "long"), value(t, c, "short"); long != "a" || short != "b" {
		t.Errorf("values %q, %q", long, short)
	}
	wait(t, "it expires", func() bool { return value(t, c, "short") == "" })
	if v := value(t, c, "long"); v != "a" {
		t.Errorf("the other has %q", v)
	}
	for range 2 {
		if err := c.Delete("long"); err != nil {
			t.Fatal(err)
		}
	}
	if v := value(t, c, "long"); v != "" {
		t.Errorf("a deleted key has %q", v)
	}
}

func TestAValueIsTakenOnce(t *testing.T) {
	c, _ := openCache(t, t.TempDir())
	defer c.Close()
	for round := range 20 {
		key := fmt.Sprint("ticket ", round)
		if err := c.Set(key, []byte("user"), time.Hour); err != nil {
			t.Fatal(err)
		}
		var got atomic.Int32
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				v, err := c.Take(key)
				if err != nil {
					t.Error(err)
				}
				if string(v) == "user" {
					got.Add(1)
				}
			})
		}
		all.Wait()
		if got.Load() != 1 || value(t, c, key) != "" {
			t.Fatalf("taken %d times, left %q", got.Load(), value(t, c, key))
		}
	}
}

func TestACounterCountsInItsWindowAndStartsAnew(t *testing.T) {
	c, _ := openCache(t, t.TempDir())
	defer c.Close()
	var all sync.WaitGroup
	var highest atomic.Int64
	for range 8 {
		all.Go(func() {
			for range 10 {
				n, left, err := c.Count("many", time.Hour)
				if err != nil || left <= 0 || left > time.Hour {
					t.Errorf("left %v, error %v", left, err)
				}
				for old := highest.Load(); n > old && !highest.CompareAndSwap(old, n); old = highest.Load() {
				}
			}
		})
	}
	all.Wait()
	if highest.Load() != 80 {
		t.Errorf("80 counts gave %d", highest.Load())
	}
	if n, _, err := c.Count("other", time.Hour); n != 1 || err != nil {
		t.Errorf("another key counts %d, error %v", n, err)
	}
	if n, _, err := c.Count("brief", 50*time.Millisecond); n != 1 || err != nil {
		t.Fatalf("first count %d, error %v", n, err)
	}
	if n, left, err := c.Count("brief", time.Hour); n == 2 && left > 50*time.Millisecond || err != nil {
		t.Errorf("a later count changed the window: left %v, error %v", left, err)
	}
	wait(t, "the window ends", func() bool { n, _, err := c.Count("brief", time.Millisecond); return err != nil || n == 1 })
}

func TestTheCacheSurvivesAnOrderlyRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	c, recreated := openCache(t, dir)
	if recreated {
		t.Error("a new cache is not a recreated one")
	}
	if err := c.Set("key", []byte("value"), time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c, recreated = openCache(t, dir)
	defer c.Close()
	if v := value(t, c, "key"); recreated || v != "value" {
		t.Errorf("recreated %v, value %q", recreated, v)
	}
}

func TestABrokenCacheIsSetAside(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	for round := range 2 { // the second finds one set aside already
		c, _ := openCache(t, dir)
		if err := c.Set("key", []byte("a value that is long enough to be torn"), time.Hour); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		data, err := filepath.Glob(filepath.Join(dir, "*.dat"))
		if err != nil || len(data) == 0 {
			t.Fatalf("no data files in %s: %v", dir, err)
		}
		tear(t, data[len(data)-1])
		c, recreated := openCache(t, dir)
		if v := value(t, c, "key"); !recreated || v != "" {
			t.Errorf("round %d: recreated %v, value %q", round, recreated, v)
		}
		if err := c.Set("key", []byte("new"), time.Hour); err != nil || value(t, c, "key") != "new" {
			t.Errorf("round %d: the new cache does not work: %v", round, err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(dir + ".broken"); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
	}
}

// tear cuts the last bytes that were written off a file, as a power cut does.
func tear(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	end := len(b)
	for end > 0 && b[end-1] == 0 { // the file may be longer than what was written
		end--
	}
	if end < 10 {
		t.Fatalf("%s holds %d bytes", path, end)
	}
	if err := os.Truncate(path, int64(end-5)); err != nil {
		t.Fatal(err)
	}
}
