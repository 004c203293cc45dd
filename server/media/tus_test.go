package media_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/servertest"
)

// begin starts a resumable upload and returns its path.
func begin(u *servertest.User, size int, name string) (servertest.Reply, string) {
	r := u.Request("POST", "/api/v1/media/tus", nil, http.Header{
		"Tus-Resumable": {"1.0.0"}, "Upload-Length": {strconv.Itoa(size)}, "Upload-Metadata": {"filename " + base64.StdEncoding.EncodeToString([]byte(name))},
	})
	return r, "/api/v1/media/tus/" + path.Base(r.Header.Get("Location"))
}

func patch(u *servertest.User, where string, offset int, piece []byte) servertest.Reply {
	return u.Request("PATCH", where, bytes.NewReader(piece), http.Header{
		"Tus-Resumable": {"1.0.0"}, "Upload-Offset": {strconv.Itoa(offset)}, "Content-Type": {"application/offset+octet-stream"},
	})
}

func offset(t *testing.T, u *servertest.User, where string) int {
	t.Helper()
	r := u.Request("HEAD", where, nil, http.Header{"Tus-Resumable": {"1.0.0"}})
	n, err := strconv.Atoi(r.Header.Get("Upload-Offset"))
	if err != nil {
		t.Fatalf("HEAD: %d %v", r.Status, r.Header)
	}
	return n
}

func TestALargeFileArrivesInPiecesOverARestartAndNobodyElseTouchesIt(t *testing.T) {
	s := servertest.Start(t)
	ada, eve := s.Register("ada"), s.Register("eve")
	content := make([]byte, 3<<20+17)
	_, _ = rand.Read(content)
	r, where := begin(ada, len(content), "../big film.bin")
	if r.Status != 201 {
		t.Fatalf("begin: %d %s", r.Status, r.Body)
	}
	id := path.Base(where)
	if r := patch(ada, where, 0, content[:1<<20]); r.Status != 204 {
		t.Fatalf("first piece: %d %s", r.Status, r.Body)
	}
	if r := patch(ada, where, 5, content[5:10]); r.Status != 409 {
		t.Errorf("a piece in the wrong place: %d %s", r.Status, r.Body)
	}
	for who, u := range map[string]*servertest.User{"a stranger": eve, "nobody": s.Nobody()} {
		want := 404
		if who == "nobody" {
			want = 401
		}
		if r := patch(u, where, 1<<20, content[1<<20:]); r.Status != want {
			t.Errorf("%s goes on: %d %s", who, r.Status, r.Body)
		}
		for _, method := range []string{"HEAD", "DELETE"} {
			if r := u.Request(method, where, nil, http.Header{"Tus-Resumable": {"1.0.0"}}); r.Status != want {
				t.Errorf("%s: %s: %d", who, method, r.Status)
			}
		}
		if r := u.Request("POST", where, nil, http.Header{"Tus-Resumable": {"1.0.0"}, "X-HTTP-Method-Override": {"DELETE"}}); r.Status < 400 {
			t.Errorf("%s by another method: %d", who, r.Status)
		}
	}
	ada.Do("GET", "/media/"+id+"/download", nil).Fails(404, "MEDIA_NOT_FOUND")
	s.Stop()
	s.Boot()
	if n := offset(t, ada, where); n != 1<<20 {
		t.Fatalf("after a restart %d bytes are there", n)
	}
	if r := patch(ada, where, 1<<20, content[1<<20:]); r.Status != 204 {
		t.Fatalf("the rest: %d %s", r.Status, r.Body)
	}
	var row struct {
		State, OriginalFilename, Type, URL string
		Size                               int64
	}
	eventually(t, func() bool {
		ada.Do("GET", "/media/"+id, nil).OK(&row)
		return row.State == "ready"
	})
	if row.OriginalFilename != "big film.bin" || row.Type != "document" || row.Size != int64(len(content)) {
		t.Errorf("row %+v", row)
	}
	if r := get(s.Nobody(), row.URL); !bytes.Equal(r.Body, content) {
		t.Errorf("got back %d and %d bytes", r.Status, len(r.Body))
	}
	if n := offset(t, ada, where); n != len(content) {
		t.Errorf("afterwards %d bytes are there", n)
	}
	ada.Do("DELETE", "/media/"+id, nil).OK(nil)
	eventually(t, func() bool { return len(blobs(t, s)) == 0 })
}

func TestResumableUploadsHaveLimitsAndAnEnd(t *testing.T) {
	s := servertest.Start(t, "QUCKCHAT_MEDIA_UPLOAD_MAX=1MiB", "QUCKCHAT_MEDIA_USER_QUOTA=2MiB")
	ada, admin := s.Register("ada"), chief(t, s)
	for length, code := range map[string]string{"0": "FILE_EMPTY", "x": "VALIDATION", "": "VALIDATION", "1048577": "FILE_TOO_LARGE"} {
		r := ada.Request("POST", "/api/v1/media/tus", nil, http.Header{"Tus-Resumable": {"1.0.0"}, "Upload-Length": {length}})
		if r.Status < 400 || !strings.Contains(string(r.Body), `"code":"`+code+`"`) {
			t.Errorf("length %q: %d %s", length, r.Status, r.Body)
		}
	}
	var ways []string
	for i := range 2 {
		r, where := begin(ada, 1<<20, fmt.Sprint(i))
		if r.Status != 201 {
			t.Fatalf("begin: %d %s", r.Status, r.Body)
		}
		ways = append(ways, where)
	}
	if r, _ := begin(ada, 1, "one more"); r.Status != 507 { // what is announced counts
		t.Errorf("over the quota: %d %s", r.Status, r.Body)
	}
	if r := ada.Request("DELETE", ways[0], nil, http.Header{"Tus-Resumable": {"1.0.0"}}); r.Status != 204 {
		t.Errorf("give up: %d %s", r.Status, r.Body)
	}
	if r, _ := begin(ada, 1, "one more"); r.Status != 201 {
		t.Errorf("when there is room again: %d %s", r.Status, r.Body)
	}
	s.Advance(25 * time.Hour)
	admin, ada = admin.Refreshed(), ada.Refreshed()
	for tries := 0; ; tries++ { // the calendar sweeps at the same time
		admin.Do("POST", "/admin/media/sweep", nil).OK(nil)
		r := patch(ada, ways[1], 0, []byte("late"))
		if r.Status == 404 {
			return
		}
		if tries == 100 {
			t.Fatalf("after the sweep: %d %s", r.Status, r.Body)
		}
	}
}
