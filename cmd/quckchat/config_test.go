package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/server/config"
)

// configure runs `quckchat config` and returns what it printed.
func configure(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := newConfigCommand()
	config.RegisterFlags(cmd.PersistentFlags())
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&bytes.Buffer{})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err := cmd.Execute()
	return out.String(), err
}

func TestConfigInitWritesOnceWhereTheServerLooks(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	if _, err := configure(t, "init", "--data", data); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(data, config.FileName)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := configure(t, "init", "--data", data); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("written twice: %v", err)
	}
	if out, err := configure(t, "explain", "config", "--data", data); err != nil || !strings.HasPrefix(out, "config = "+path+"\n") {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := configure(t, "init", "--out", "-"); err != nil || out != config.Commented() {
		t.Errorf("%q, %v", out, err)
	}
}

func TestConfigExplainNamesTheLayer(t *testing.T) {
	t.Setenv("QUCKCHAT_DATA", t.TempDir())
	t.Setenv("QUCKCHAT_LISTEN", ":80")
	out, err := configure(t, "explain", "listen", "--json")
	if want := "{\n  \"key\": \"listen\",\n  \"value\": \":80\",\n  \"layer\": \"env\",\n  \"locked\": true\n}\n"; err != nil || out != want {
		t.Errorf("%q, %v", out, err)
	}
	out, err = configure(t, "explain", "--json")
	var all []config.Origin
	if err != nil || json.Unmarshal([]byte(out), &all) != nil || len(all) != len(config.Settings()) {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := configure(t, "explain", "lissten"); err == nil || !strings.Contains(err.Error(), "did you mean listen?") {
		t.Errorf("%v", err)
	}
}
