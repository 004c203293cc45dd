package media_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/servertest"
)

// arriving waits until so many uploads are on their way.
func arriving(t *testing.T, admin *servertest.User, count int) {
	t.Helper()
	eventually(t, func() bool {
		var out struct{ Arriving int }
		admin.Do("GET", "/admin/media", nil).OK(&out)
		return out.Arriving == count
	})
}

// begun reports whether something of an upload is on the disk.
func begun(t *testing.T, s *servertest.Server) (yes bool) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(s.Dir, "media"), func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		yes = yes || err == nil && info.Size() > 0
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return yes
}

func TestAnUploadThatDripsLosesItsPlace(t *testing.T) {
	for what, c := range map[string]struct {
		method string
		header http.Header
		head   string
		end    func(t *testing.T, u *servertest.User, where string, r servertest.Reply)
	}{
		"a form": {"POST", http.Header{"Content-Type": {"multipart/form-data; boundary=edge"}}, "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\n" + strings.Repeat("x", 200<<10),
			func(_ *testing.T, _ *servertest.User, _ string, r servertest.Reply) { r.Fails(408, "BODY_TIMEOUT") }},
		"a piece": {"PATCH", http.Header{"Tus-Resumable": {"1.0.0"}, "Upload-Offset": {"0"}, "Content-Type": {"application/offset+octet-stream"}}, "x",
			func(t *testing.T, u *servertest.User, where string, r servertest.Reply) {
				if r.Status != 408 || offset(t, u.Refreshed(), where) != 2 {
					t.Errorf("%d %s, and %d bytes are there", r.Status, r.Body, offset(t, u, where))
				}
			}},
	} {
		t.Run(what, func(t *testing.T) {
			s := servertest.Start(t)
			ada, admin := s.Register("ada"), chief(t, s)
			where := "/api/v1/upload/file"
			if c.method == "PATCH" {
				_, where = begin(ada, 1<<20, "x")
			}
			body, drops := io.Pipe()
			answer := make(chan servertest.Reply, 1)
			go func() { answer <- ada.Request(c.method, where, body, c.header) }()
			if _, err := io.WriteString(drops, c.head); err != nil {
				t.Fatal(err)
			}
			eventually(t, func() bool { return begun(t, s) }) // to read it
			s.Advance(10 * time.Minute)
			if _, err := io.WriteString(drops, "x"); err != nil {
				t.Fatal(err)
			}
			r := <-answer
			drops.Close()
			c.end(t, ada, where, r)
			arriving(t, admin.Refreshed(), 0)
		})
	}
}

func TestTheHeadOfAPartIsShort(t *testing.T) {
	s := servertest.Start(t)
	ada := s.Register("ada")
	send := func(filler int) servertest.Reply {
		body := "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\nX-Filler: " + strings.Repeat("x", filler) + "\r\n\r\nhello\r\n--edge--\r\n"
		return ada.Request("POST", "/api/v1/upload/file", strings.NewReader(body), http.Header{"Content-Type": {"multipart/form-data; boundary=edge"}})
	}
	send(1000).OK(nil)
	send(300<<10).Fails(400, "BAD_REQUEST")
}

func TestOnePersonLeavesPlacesForUploadsToTheOthers(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, admin := s.Register("ada"), s.Register("bob"), chief(t, s)
	content := bytes.Repeat([]byte("x"), 1000)
	header := http.Header{"Content-Type": {"multipart/form-data; boundary=edge"}}
	end := make(chan struct{})
	answers := make(chan servertest.Reply, 64)
	for range 64 {
		body, rest := io.Pipe()
		go func() { answers <- ada.Request("POST", "/api/v1/upload/file", body, header) }()
		go func() {
			_, _ = fmt.Fprintf(rest, "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\n%s", content)
			<-end
			_, _ = io.WriteString(rest, "\r\n--edge--\r\n")
			rest.Close()
		}()
	}
	arriving(t, admin, 64)
	file := servertest.File{Part: "file", Name: "y", Content: []byte("one more")}
	ada.Upload("/upload/file", file).Fails(503, "OVERLOADED")
	bob.Upload("/upload/file", file).OK(nil)
	close(end)
	for range 64 {
		(<-answers).OK(nil)
	}
	ada.Upload("/upload/file", file).OK(nil)
}
