package server_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/server/servertest"
)

// examples returns the blocks of docs/protocol.md in one language, in their order.
func examples(t *testing.T, language string) []string {
	t.Helper()
	page, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, found := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		blocks = append(blocks, found[1])
	}
	if len(blocks) == 0 {
		t.Fatalf("docs/protocol.md has no example in %s", language)
	}
	return blocks
}

// TestTheExamplesOfTheProtocolRun runs what docs/protocol.md shows, as it stands there.
func TestTheExamplesOfTheProtocolRun(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	hears := bob.Socket()
	env := append(os.Environ(), "SERVER="+s.URL, "TOKEN="+ada.Token, "BOB="+bob.ID, "ROOM="+room)
	run := func(t *testing.T, dir, name string, args ...string) string {
		t.Helper()
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("SKIPPED, the example is not tried: %v", err)
		}
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.Env = dir, env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		return string(out)
	}
	t.Run("curl", func(t *testing.T) {
		if _, err := exec.LookPath("curl"); err != nil {
			t.Skipf("SKIPPED, the example is not tried: %v", err)
		}
		out := run(t, t.TempDir(), "bash", "-euo", "pipefail", "-c", strings.Join(examples(t, "sh"), "\n"))
		if !strings.Contains(out, `"clientId":"c-1"`) {
			t.Errorf("the message was not answered:\n%s", out)
		}
		hears.Expect("message:new")
	})
	t.Run("Go", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "client.go")
		if err := os.WriteFile(file, []byte(examples(t, "go")[0]), 0o600); err != nil {
			t.Fatal(err)
		}
		out := run(t, ".", "go", "run", file)
		if !strings.Contains(out, "stored") || !strings.Contains(out, "hello from Go") {
			t.Errorf("the client said:\n%s", out)
		}
		hears.Expect("message:new")
	})
	t.Run("JavaScript", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Symlink(filepath.Join(servertest.StockHome(t), "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "client.mjs"), []byte(examples(t, "js")[0]), 0o600); err != nil {
			t.Fatal(err)
		}
		out := run(t, dir, "node", "client.mjs")
		if !strings.Contains(out, "stored ") || !strings.Contains(out, "heard ADA hello from JavaScript") {
			t.Errorf("the client said:\n%s", out)
		}
		hears.Expect("message:new")
	})
}
