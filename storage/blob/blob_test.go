package blob_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/quckchat/quckchat/storage/blob"
)

var ctx = context.Background()

func open(t testing.TB, dir string) *blob.Store {
	t.Helper()
	s, err := blob.Open(filepath.Join(dir, "media"), 0)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func draft(t testing.TB, s *blob.Store, content string) *blob.Draft {
	t.Helper()
	d, err := s.Draft(64 << 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Discard)
	if _, err := io.WriteString(d, content); err != nil {
		t.Fatal(err)
	}
	return d
}

func keep(t testing.TB, s *blob.Store, content string) blob.Name {
	t.Helper()
	d := draft(t, s, content)
	name := d.Name()
	if err := s.Keep(ctx, d, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	return name
}

func content(t testing.TB, s *blob.Store, name blob.Name) string {
	t.Helper()
	f, err := s.Open(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// files lists what lies in the directory of the store, drafts included.
func files(t testing.TB, dir string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			list = append(list, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestTheSameContentIsKeptOnce(t *testing.T) {
	each(t, func(t *testing.T, s *blob.Store, dir string) {
		const hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
		first, second := keep(t, s, "hello"), keep(t, s, "hello")
		if first != hello || second != first {
			t.Errorf("names %s, %s", first, second)
		}
		want := filepath.Join(dir, "media", "2c", "f2", hello)
		if list := files(t, dir); len(list) != 1 || list[0] != want {
			t.Errorf("files %v", list)
		}
		info, err := s.Stat(ctx, first)
		if err != nil || info.Size != 5 || info.Name != hello || info.At.IsZero() {
			t.Errorf("%+v %v", info, err)
		}
		if got := content(t, s, first); got != "hello" {
			t.Errorf("content %q", got)
		}
	})
}

func TestADraftThatIsTooLargeOrGivenUpLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	d, err := s.Draft(10)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := d.Write(bytes.Repeat([]byte("x"), 10)); n != 10 || err != nil {
		t.Errorf("wrote %d, %v", n, err)
	}
	if n, err := d.Write([]byte("y")); n != 0 || !errors.Is(err, blob.ErrTooLarge) {
		t.Errorf("wrote %d, %v", n, err)
	}
	d.Discard()
	d.Discard()
	if list := files(t, dir); len(list) != 0 {
		t.Errorf("files %v", list)
	}
}

func TestWhatCannotBeClaimedStaysForASweep(t *testing.T) {
	each(t, func(t *testing.T, s *blob.Store, _ string) {
		no := errors.New("no")
		d := draft(t, s, "hello")
		name := d.Name()
		if err := s.Keep(ctx, d, func() error { return no }); !errors.Is(err, no) {
			t.Errorf("error %v", err)
		}
		if got := content(t, s, name); got != "hello" {
			t.Errorf("content %q", got)
		}
		asked := false
		gone, err := s.Remove(ctx, name, func() (bool, error) { asked = true; return false, nil })
		if !gone || err != nil || !asked {
			t.Errorf("gone %v, %v", gone, err)
		}
		if _, err := s.Open(ctx, name); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("error %v", err)
		}
	})
}

func TestWhatIsClaimedIsNotRemoved(t *testing.T) {
	each(t, func(t *testing.T, s *blob.Store, _ string) {
		name := keep(t, s, "hello")
		no := errors.New("no")
		for _, answer := range []func() (bool, error){
			func() (bool, error) { return true, nil },
			func() (bool, error) { return false, no },
		} {
			if gone, err := s.Remove(ctx, name, answer); gone || err != nil && !errors.Is(err, no) {
				t.Errorf("gone %v, %v", gone, err)
			}
		}
		if got := content(t, s, name); got != "hello" {
			t.Errorf("content %q", got)
		}
		if gone, err := s.Remove(ctx, keepless(), func() (bool, error) { return false, nil }); !gone || err != nil {
			t.Errorf("what is not there: gone %v, %v", gone, err)
		}
	})
}

func keepless() blob.Name { return blob.Name(strings.Repeat("0", 64)) }

// Claims and removals of the same few contents at once: what has a claim is there, always.
func TestARemovalNeverTakesWhatSomebodyHasJustClaimed(t *testing.T) {
	each(t, func(t *testing.T, s *blob.Store, _ string) {
		var mu sync.Mutex
		claims := map[blob.Name]int{}
		var all sync.WaitGroup
		for w := range 8 {
			all.Go(func() {
				for i := range 40 {
					d := draft(t, s, fmt.Sprint("content ", (w+i)%3))
					name := d.Name()
					err := s.Keep(ctx, d, func() error { mu.Lock(); claims[name]++; mu.Unlock(); return nil })
					if err != nil {
						t.Error(err)
					}
					if _, err := s.Stat(ctx, name); err != nil {
						t.Errorf("claimed and not there: %v", err)
					}
					mu.Lock()
					claims[name]--
					mu.Unlock()
					_, err = s.Remove(ctx, name, func() (bool, error) { mu.Lock(); defer mu.Unlock(); return claims[name] > 0, nil })
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		err := s.Walk(ctx, func(i blob.Info) error { return fmt.Errorf("%s is left", i.Name) })
		if err != nil {
			t.Error(err)
		}
	})
}

func TestAFlippedBitIsFoundAndMendedByTheSameContent(t *testing.T) {
	each(t, func(t *testing.T, s *blob.Store, dir string) {
		name := keep(t, s, "hello")
		if sound, err := s.Verify(ctx, name); !sound || err != nil {
			t.Errorf("sound %v, %v", sound, err)
		}
		if err := os.WriteFile(files(t, dir)[0], []byte("hellp"), 0o600); err != nil {
			t.Fatal(err)
		}
		if sound, err := s.Verify(ctx, name); sound || err != nil {
			t.Errorf("sound %v, %v", sound, err)
		}
		keep(t, s, "hello")
		if sound, err := s.Verify(ctx, name); !sound || err != nil {
			t.Errorf("sound %v, %v", sound, err)
		}
		if _, err := s.Verify(ctx, keepless()); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("error %v", err)
		}
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := s.Verify(ended, name); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

func TestOpenRemovesDraftsAndKeepsBlobs(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	name := keep(t, s, "hello")
	left := draft(t, s, "half")
	if list := files(t, dir); len(list) != 2 {
		t.Fatalf("files %v", list)
	}
	s = open(t, dir)
	if list := files(t, dir); len(list) != 1 {
		t.Errorf("files %v", list)
	}
	if got := content(t, s, name); got != "hello" {
		t.Errorf("content %q", got)
	}
	left.Discard()
}

func TestWalkListsBlobsAndNothingElse(t *testing.T) {
	each(t, func(t *testing.T, s *blob.Store, dir string) {
		want := map[blob.Name]int64{}
		for i := range 20 {
			text := strings.Repeat("x", i)
			want[keep(t, s, text)] = int64(i)
		}
		draft(t, s, "half")
		for _, stray := range []string{"README", "ab/cd/" + string(keepless()), "00/00/short", "lost+found/x"} {
			path := filepath.Join(dir, "media", stray)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		var last blob.Name
		err := s.Walk(ctx, func(i blob.Info) error {
			if size, ok := want[i.Name]; !ok || size != i.Size || i.Name <= last {
				t.Errorf("%+v after %s", i, last)
			}
			delete(want, i.Name)
			last = i.Name
			return nil
		})
		if err != nil || len(want) != 0 {
			t.Errorf("%v; not listed: %v", err, want)
		}
	})
}

func TestANameThatIsNoHashOpensNothing(t *testing.T) {
	each(t, func(t *testing.T, s *blob.Store, _ string) {
		keep(t, s, "hello")
		for _, name := range []string{"", "x", "../../etc/passwd", "new", strings.Repeat("A", 64), strings.Repeat("../", 21) + "x", strings.Repeat("0", 64) + "0"} {
			if _, err := s.Open(ctx, blob.Name(name)); !errors.Is(err, blob.ErrNotFound) {
				t.Errorf("%q: %v", name, err)
			}
			if _, err := s.Stat(ctx, blob.Name(name)); !errors.Is(err, blob.ErrNotFound) {
				t.Errorf("%q: %v", name, err)
			}
			if gone, err := s.Remove(ctx, blob.Name(name), func() (bool, error) { return false, nil }); !gone || err != nil {
				t.Errorf("%q: gone %v, %v", name, gone, err)
			}
		}
	})
}

func TestTheReserveOfTheDiskIsNotTouched(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	free, err := s.Free()
	if err != nil || free == 0 {
		t.Fatalf("%d free, %v", free, err)
	}
	tight, err := blob.Open(filepath.Join(dir, "tight"), 2*free)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tight.Draft(1); !errors.Is(err, blob.ErrFull) {
		t.Errorf("error %v", err)
	}
}

func BenchmarkKeep(b *testing.B) {
	s := open(b, b.TempDir())
	part := make([]byte, 1<<20)
	_, _ = rand.Read(part)
	b.SetBytes(20 << 20)
	for i := range b.N {
		d, err := s.Draft(21 << 20)
		if err != nil {
			b.Fatal(err)
		}
		fmt.Fprint(d, i)
		for range 20 {
			if _, err := d.Write(part); err != nil {
				b.Fatal(err)
			}
		}
		if err := s.Keep(ctx, d, func() error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
