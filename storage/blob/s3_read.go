package blob

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"
)

// A blob is read by requests for spans of it, so that somebody who looks at the first bytes of a film, as browsers do,
// does not make the store send the rest. Each span is twice the one before it while the reading goes on.
const (
	firstSpan = 1 << 20
	lastSpan  = 16 << 20
	reopened  = 3 // times in a row without one byte
)

// object is a blob of a bucket, opened.
type object struct {
	ctx    context.Context
	bucket *bucket
	info   Info
	at     int64 // where the next Read begins

	body io.ReadCloser // of the span being read, or nil
	next int64         // what body gives next
	end  int64         // of that span, exclusive
	span int64         // bytes of the next one
}

func (b *bucket) open(ctx context.Context, name Name) (File, error) {
	info, err := b.stat(ctx, name)
	if err != nil {
		return nil, err
	}
	return &object{ctx: ctx, bucket: b, info: info, span: firstSpan}, nil
}

func (o *object) Info() Info { return o.info }

// Seek moves in memory only; the next Read asks for what it needs.
func (o *object) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += o.at
	case io.SeekEnd:
		offset += o.info.Size
	}
	if offset < 0 || whence < io.SeekStart || whence > io.SeekEnd {
		return 0, errors.New("seek blob: before its beginning")
	}
	o.at = offset
	return offset, nil
}

// Read gives bytes of the store, and asks again where a connection breaks off. Errors: ErrNotFound for a blob removed
// meanwhile, ErrUnavailable, ErrRefused.
func (o *object) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	var broken error
	for range reopened {
		if o.at >= o.info.Size {
			return 0, io.EOF
		}
		if o.body == nil || o.next != o.at {
			if err := o.ask(); err != nil {
				return 0, fmt.Errorf("read blob: %w", mapS3(o.ctx, err))
			}
		}
		n, err := o.body.Read(p[:min(int64(len(p)), o.end-o.next)])
		o.at += int64(n)
		o.next = o.at
		if err != nil || o.next == o.end {
			o.drop(err == nil || errors.Is(err, io.EOF))
		}
		if n > 0 {
			return n, nil
		}
		if err != nil {
			broken = err
		}
	}
	if broken == nil || errors.Is(broken, io.EOF) {
		broken = io.ErrUnexpectedEOF
	}
	return 0, fmt.Errorf("read blob: %w", mapS3(o.ctx, broken))
}

// ask requests the span that begins where the next Read does.
func (o *object) ask() error {
	if o.body == nil && o.next == o.at && o.at > 0 {
		o.span = min(2*o.span, lastSpan)
	} else {
		o.span = firstSpan
	}
	o.drop(false)
	end := min(o.at+o.span, o.info.Size)
	var options minio.GetObjectOptions
	if err := options.SetRange(o.at, end-1); err != nil {
		return err
	}
	body, _, header, err := o.bucket.api.GetObject(o.ctx, o.bucket.name, o.bucket.key(o.info.Name), options)
	if err != nil {
		return err
	}
	if got, want := header.Get("Content-Range"), fmt.Sprintf("bytes %d-%d/%d", o.at, end-1, o.info.Size); got != want {
		_ = body.Close()
		return fmt.Errorf("%w: it answers with %q, not %q", ErrRefused, got, want)
	}
	o.body, o.next, o.end = body, o.at, end
	return nil
}

// drop ends the span being read. One that was read to its end gives its connection to the next.
func (o *object) drop(whole bool) {
	if o.body == nil {
		return
	}
	if whole {
		_, _ = io.CopyN(io.Discard, o.body, 1)
	}
	_ = o.body.Close()
	o.body = nil
}

// Close ends the request that is under way.
func (o *object) Close() error {
	o.drop(false)
	return nil
}

// transport is one without proxies of the environment, whose connections end when the store falls silent.
func (to *S3) transport() (*http.Transport, error) {
	dialer := net.Dialer{Timeout: min(10*time.Second, to.Silence), KeepAlive: 15 * time.Second}
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &impatient{c, to.Silence}, nil
		},
		TLSHandshakeTimeout:   min(10*time.Second, to.Silence),
		ResponseHeaderTimeout: to.Silence,
		IdleConnTimeout:       to.Silence / 2, // before its read ends by itself, which could be under a new request
		MaxIdleConnsPerHost:   16,
		DisableCompression:    true, // of what is compressed already, and whose size must be that of the blob
	}
	if len(to.Roots) > 0 {
		roots, err := x509.SystemCertPool()
		if err != nil {
			return nil, err
		}
		if !roots.AppendCertsFromPEM(to.Roots) {
			return nil, errors.New("no certificate among the roots")
		}
		t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return t, nil
}

// impatient is a connection on which every read and write has a deadline of its own: net/http bounds the wait for an
// answer, not that for the rest of it, nor for the store to take what is sent. A read waits while a request is written,
// which is why writing also moves its deadline.
type impatient struct {
	net.Conn
	silence time.Duration
}

func (c *impatient) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.silence)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *impatient) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.silence)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
