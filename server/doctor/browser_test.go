package doctor_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/quckchat/quckchat/server/doctor"
)

// patience is how long a test waits for what must happen: a browser that starts on a busy machine, and waits for servers that do
// not answer.
const patience = 90 * time.Second

// browse starts a Chromium of its own, in a network namespace unless that is "", and returns its context.
func browse(t *testing.T, namespace string, flags ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("SKIPPED: chromium was not found")
	}
	dir, err := os.MkdirTemp("", "qc-browser-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if namespace != "" { // pipes to the browser need no network
		script := "#!/bin/sh\nexec ip netns exec " + namespace + " " + path + ` "$@"` + "\n"
		path = filepath.Join(dir, "chromium")
		if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.UserDataDir(filepath.Join(dir, "profile")), chromedp.Flag("no-sandbox", true),
		chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.WindowSize(820, 1000))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, append(options, flags...)...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	return ctx
}

// seen is what the page shows as JSON.
type seen struct {
	Browser doctor.Diagnosis  `json:"browser"`
	Server  *doctor.Diagnosis `json:"server"`
}

// findings is the JSON of the page once it is done.
func findings(t *testing.T, ctx context.Context) (s seen) {
	t.Helper()
	done, err := chromedp.Run(ctx, chromedp.Poll[string](`document.body.dataset.done`, chromedp.WithPollingTimeout(patience)))
	if err != nil {
		t.Fatal(err)
	}
	if done == "failed" {
		text, _ := chromedp.Run(ctx, chromedp.Text(`#failed`))
		t.Fatalf("the page says: %s", text)
	}
	raw, err := chromedp.Run(ctx, chromedp.TextContent(`#json`))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(raw), &s); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return s
}

// picture keeps what the page looks like where QUCKCHAT_TEST_PICTURES says.
func picture(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	dir := os.Getenv("QUCKCHAT_TEST_PICTURES")
	if dir == "" {
		return
	}
	image, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), image, 0o600); err != nil {
		t.Fatal(err)
	}
}

// codes is the code of every check by its name.
func codes(d *doctor.Diagnosis) map[string]string {
	out := map[string]string{}
	for _, f := range d.Checks {
		out[f.Name] = f.Code
	}
	return out
}
