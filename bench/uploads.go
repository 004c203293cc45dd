package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// uploads is scenario G: many large files at a time. The floor writes, hashes and syncs the same bytes into files, as many at a
// time, keeps them as the server does (fresh pages of the cache cost more than used ones), and does nothing else.
func (b *bench) uploads(ctx context.Context) error {
	p, accounts, err := b.rested(ctx, 1)
	if err != nil {
		return err
	}
	defer func() { p.stop() }()
	dir, err := os.MkdirTemp(b.tmp, "floor-")
	if err != nil {
		return err
	}
	content := make([]byte, b.uploadSize)
	for i := range content {
		content[i] = byte(i * i >> 7)
	}
	rest := memory(p.pid(), "VmRSS")
	resetPeak(p.pid())
	var ours, floor, ratio []float64
	for round := range b.rounds {
		took, err := b.atOnce(ctx, func(i int) error { return uploadFile(ctx, p, accounts[0].access, content, round*1000+i) })
		if err != nil {
			return err
		}
		bare, err := b.atOnce(ctx, func(i int) error { return writeFile(dir, content, round*1000+i) })
		if err != nil {
			return err
		}
		bytes := float64(b.uploadsAtOnce) * float64(b.uploadSize) / (1 << 20)
		ours, floor, ratio = append(ours, bytes/took.Seconds()), append(floor, bytes/bare.Seconds()), append(ratio, bare.Seconds()/took.Seconds())
		b.say("uploads: %.0f MiB/s, the bare disk %.0f MiB/s", ours[round], floor[round])
	}
	peak := memory(p.pid(), "VmHWM") - rest
	t := b.report.table("G. Uploads", "at once", "size", "QuckChat", "write, hash, sync", "ratio", "peak RSS above rest")
	rate := func(v float64) string { return fmt.Sprintf("%.0f MiB/s", v) }
	t.add(fmt.Sprint(b.uploadsAtOnce), mib(int64(b.uploadSize)), spreadOf(ours...).show(rate), spreadOf(floor...).show(rate), fmt.Sprintf("%.2f", spreadOf(ratio...).median), mib(peak))
	t.note = "Different files, as forms over loopback, each answered when it is on the disk and in the tables; client and server share the cores, the floor has them alone. Medians (and extremes)."
	b.report.goal("uploads beside write, hash and sync", "0.60", fmt.Sprintf("%.2f", spreadOf(ratio...).median), spreadOf(ratio...).median >= 0.6)
	b.report.goal("peak memory of uploads above rest", "under 64 MiB", mib(peak), peak < 64<<20)
	return nil
}

// atOnce does something many times in parallel and returns how long all of it took.
func (b *bench) atOnce(ctx context.Context, fn func(i int) error) (time.Duration, error) {
	failed := make([]error, b.uploadsAtOnce)
	var all sync.WaitGroup
	began := time.Now()
	for i := range b.uploadsAtOnce {
		all.Go(func() { failed[i] = fn(i) })
	}
	all.Wait()
	return time.Since(began), errors.Join(append(failed, ctx.Err())...)
}

const (
	uploadHead = "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"film.bin\"\r\nContent-Type: application/octet-stream\r\n\r\n"
	uploadTail = "\r\n--edge--\r\n"
)

// uploadFile sends the content with a number in front, which makes it another one.
func uploadFile(ctx context.Context, p *process, token string, content []byte, number int) error {
	first := fmt.Sprintf("%016d", number)
	body := io.MultiReader(bytes.NewReader([]byte(uploadHead+first)), bytes.NewReader(content[len(first):]), bytes.NewReader([]byte(uploadTail)))
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.to.String()+"/api/v1/upload/file", body)
	if err != nil {
		return err
	}
	r.ContentLength = int64(len(uploadHead) + len(content) + len(uploadTail))
	r.Header.Set("Content-Type", "multipart/form-data; boundary=edge")
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusCreated {
		err = fmt.Errorf("upload: %d %s", answer.StatusCode, raw)
	}
	return err
}

// writeFile is what no upload can do without.
func writeFile(dir string, content []byte, number int) error {
	f, err := os.Create(filepath.Join(dir, fmt.Sprintf("floor-%d", number)))
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	first := fmt.Sprintf("%016d", number)
	for _, part := range [][]byte{[]byte(first), content[len(first):]} {
		for len(part) > 0 {
			piece := part[:min(len(part), 128<<10)]
			part = part[len(piece):]
			sum.Write(piece)
			if _, err := f.Write(piece); err != nil {
				return err
			}
		}
	}
	return f.Sync()
}
