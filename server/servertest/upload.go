package servertest

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"time"

	"github.com/quckchat/quckchat/storage"
)

// File is a file to upload.
type File struct {
	Part, Name string // of the form, and of the file
	Content    []byte
}

// Upload sends files as a form.
func (u *User) Upload(path string, files ...File) Reply {
	u.Server.t.Helper()
	r, err := u.upload(path, files...)
	if err != nil {
		u.Server.t.Fatal(err)
	}
	return r
}

func (u *User) upload(path string, files ...File) (Reply, error) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for _, f := range files {
		part, err := form.CreateFormFile(f.Part, f.Name)
		if err == nil {
			_, err = part.Write(f.Content)
		}
		if err != nil {
			return Reply{}, err
		}
	}
	if err := form.Close(); err != nil {
		return Reply{}, err
	}
	return u.request("POST", "/api/v1"+path, &body, http.Header{"Content-Type": {form.FormDataContentType()}})
}

// Begun begins an upload with a scanner that holds its answer, and returns the address as soon as it is stored. The answer
// to the upload comes on the channel.
func (u *User) Begun(path string, f File) (address string, answer <-chan Reply) {
	u.Server.t.Helper()
	done := make(chan Reply, 1)
	go func() {
		if r, err := u.upload(path, f); err == nil { // the server may have stopped
			done <- r
		}
	}()
	for deadline := time.Now().Add(Patience); ; time.Sleep(time.Millisecond) {
		err := u.Server.Inner.Store().Read(context.Background(), func(v storage.View) error {
			return v.QueryRow("SELECT '/uploads/files/' || name FROM upload WHERE user_id = ? AND original_name = ? AND state = 'processing'", u.ID, f.Name).Scan(&address)
		})
		if err == nil {
			return address, done
		}
		if !errors.Is(err, sql.ErrNoRows) || time.Now().After(deadline) {
			u.Server.t.Fatalf("%s is not stored: %v", f.Name, err)
		}
	}
}

// Uploaded uploads a file and returns its address.
func (u *User) Uploaded(path, name string, content []byte) string {
	u.Server.t.Helper()
	var out struct{ URL string }
	u.Upload(path, File{"file", name, content}).OK(&out)
	return strings.TrimPrefix(out.URL, u.Server.URL)
}

// Picture uploads a picture and returns its address.
func (u *User) Picture() string {
	u.Server.t.Helper()
	return u.Uploaded("/upload/image", "picture.png", PNG(16, 8))
}

// Shown is the path under which a profile or a group shows a picture that was uploaded, from either of their addresses.
func Shown(address string) string {
	path, _, _ := strings.Cut(address, "?")
	if strings.HasSuffix(path, "-square.webp") {
		return path
	}
	return strings.TrimSuffix(path, ".png") + "-square.webp"
}

// PNG is a picture with something in it, the same for the same size.
func PNG(width, height int) []byte {
	picture := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			picture.SetNRGBA(x, y, color.NRGBA{uint8(x * 7), uint8(y * 5), uint8(x ^ y), 255})
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, picture); err != nil {
		panic(err) // memory does not fail
	}
	return out.Bytes()
}

// Request sends any request; the path begins at the root of the server.
func (u *User) Request(method, path string, body io.Reader, header http.Header) Reply {
	u.Server.t.Helper()
	r, err := u.request(method, path, body, header)
	if err != nil {
		u.Server.t.Fatal(err)
	}
	return r
}

func (u *User) request(method, path string, body io.Reader, header http.Header) (Reply, error) {
	r, err := http.NewRequest(method, u.Server.URL+path, body)
	if err != nil {
		return Reply{}, err
	}
	for name, values := range header {
		r.Header[name] = values
	}
	if u.Token != "" {
		r.Header.Set("Authorization", "Bearer "+u.Token)
	}
	answer, err := u.Server.client.Do(r)
	if err != nil {
		return Reply{}, err
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		return Reply{}, fmt.Errorf("%s %s: %w", method, path, err)
	}
	return Reply{u.Server.t, method + " " + path, answer.StatusCode, answer.Header, raw}, nil
}
