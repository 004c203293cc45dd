package servertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Page is a tab of a headless Chromium with a fake camera and microphone. One goroutine uses it.
type Page struct {
	t   testing.TB
	ctx context.Context
}

// pagePatience is how long a step in a browser may take: a busy machine needs long to start one.
const pagePatience = 90 * time.Second

// OpenPage starts a browser of its own and opens an address; certificates are not checked. It runs in a network namespace
// unless that is "". Without Chromium the test is skipped and says so.
func OpenPage(t testing.TB, namespace, address string) *Page {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("SKIPPED: nothing is tried in a real browser, because chromium was not found: apt-get install chromium")
	}
	if namespace != "" {
		script := filepath.Join(t.TempDir(), "chromium")
		text := fmt.Sprintf("#!/bin/sh\nexec ip netns exec %s %s \"$@\"\n", namespace, program)
		if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		program = script
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("ignore-certificate-errors", true), chromedp.Flag("use-fake-device-for-media-stream", true),
		chromedp.Flag("use-fake-ui-for-media-stream", true), chromedp.Flag("auto-accept-this-tab-capture", true),
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"),
	)
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	p := &Page{t, ctx}
	if err := p.do(chromedp.Navigate(address)); err != nil {
		t.Fatalf("open %s in a browser: %v", address, err)
	}
	return p
}

func (p *Page) do(steps ...chromedp.Action[chromedp.Void]) error {
	done := make(chan error, 1)
	go func() { done <- chromedp.Do(p.ctx, steps...) }()
	select {
	case err := <-done:
		return err
	case <-time.After(pagePatience):
		return fmt.Errorf("not done after %s", pagePatience)
	}
}

// Reload loads the page anew: whatever ran in it is gone.
func (p *Page) Reload() {
	p.t.Helper()
	if err := p.do(chromedp.Reload()); err != nil {
		p.t.Fatal(err)
	}
}

// Eval runs an expression in a page as if somebody had clicked, waits for its promise, and returns its value.
func Eval[T any](p *Page, expression string) T {
	p.t.Helper()
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise, asClicked))
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			p.t.Fatalf("in the browser, %s: %v", expression, r.err)
		}
		return r.value
	case <-time.After(pagePatience):
		p.t.Fatalf("in the browser, %s is not done after %s", expression, pagePatience)
	}
	panic("unreachable")
}

func asClicked(p *runtime.EvaluateParams) { p.UserGesture = new(true) }
