package config

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "rewrite docs/configuration.md")

// file writes a configuration file and returns its path.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func flags(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	RegisterFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return fs
}

func load(t *testing.T, src Sources) *Snapshot {
	t.Helper()
	snap, err := Load(src)
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

func TestDefaultsAreValid(t *testing.T) {
	c := Default()
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if c.Listen != ":3000" || c.Registration != "invite" || !c.RateLimits || c.GroupMembersMax != 256 || c.Socket.Heartbeat != 25*time.Second || c.BodyLimit != 100<<10 {
		t.Errorf("unexpected defaults: %+v", c)
	}
}

func TestALaterLayerWins(t *testing.T) {
	fromFile := file(t, "message_max_length = 2\n")
	stored := map[string]string{"message_max_length": "3"}
	env := []string{"QUCKCHAT_MESSAGE_MAX_LENGTH=4"}
	args := []string{"--message-max-length", "5"}
	for _, tc := range []struct {
		name string
		src  Sources
		want Origin
	}{
		{"nothing set", Sources{}, Origin{"message_max_length", "4000", LayerDefault, false}},
		{"file", Sources{File: fromFile}, Origin{"message_max_length", "2", LayerFile, false}},
		{"stored", Sources{File: fromFile, Stored: stored}, Origin{"message_max_length", "3", LayerStored, false}},
		{"env", Sources{File: fromFile, Stored: stored, Env: env}, Origin{"message_max_length", "4", LayerEnv, true}},
		{"empty variable", Sources{Env: []string{"QUCKCHAT_MESSAGE_MAX_LENGTH="}}, Origin{"message_max_length", "4000", LayerDefault, false}},
		{"flag", Sources{File: fromFile, Stored: stored, Env: env, Flags: flags(t, args...)}, Origin{"message_max_length", "5", LayerFlag, true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			snap := load(t, tc.src)
			if got := snap.Explain("message_max_length"); got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
			if got := format(snap.Config.MessageMaxLength); got != tc.want.Value {
				t.Errorf("the field is %s, want %s", got, tc.want.Value)
			}
		})
	}
}

func TestASectionIsPartOfTheName(t *testing.T) {
	snap := load(t, Sources{File: file(t, "[socket]\nqueue = 7\n"), Env: []string{"QUCKCHAT_SOCKET_MAX_PER_USER=8"}, Flags: flags(t, "--socket-heartbeat", "9s")})
	if want := (Socket{MaxPerUser: 8, Heartbeat: 9 * time.Second, Queue: 7}); snap.Config.Socket != want {
		t.Errorf("got %+v, want %+v", snap.Config.Socket, want)
	}
}

func TestEveryKindIsReadFromTheFile(t *testing.T) {
	snap := load(t, Sources{File: file(t, `
registration = "open"
rate_limits = false
access_token_ttl = "90s"
body_limit = "10MiB"
group_members_max = 1_000
cors_origins = ["https://a.example", "http://b.example:8080"]
trusted_proxies = "10.0.0.0/8, ::1"
[admin]
socket = "/run/q.sock"
`)})
	c := snap.Config
	got := []any{c.Registration, c.RateLimits, c.AccessTokenTTL, c.BodyLimit, c.GroupMembersMax, c.CORSOrigins, c.TrustedProxies, c.Admin.Socket}
	want := []any{"open", false, 90 * time.Second, Bytes(10 << 20), 1000, []string{"https://a.example", "http://b.example:8080"}, []string{"10.0.0.0/8", "::1"}, "/run/q.sock"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestTheFileIsFound(t *testing.T) {
	data := t.TempDir()
	inData := filepath.Join(data, FileName)
	if err := os.WriteFile(inData, []byte(`listen = ":1"`), 0o600); err != nil {
		t.Fatal(err)
	}
	other, third := file(t, `listen = ":2"`), file(t, `listen = ":3"`)
	for _, tc := range []struct {
		name string
		src  Sources
		want string
	}{
		{"in the data directory", Sources{Flags: flags(t, "--data", data)}, inData},
		{"in the data directory of the environment", Sources{Env: []string{"QUCKCHAT_DATA=" + data}}, inData},
		{"nowhere", Sources{Flags: flags(t, "--data", t.TempDir())}, ""},
		{"by variable", Sources{File: third, Env: []string{"QUCKCHAT_DATA=" + data, "QUCKCHAT_CONFIG=" + other}}, other},
		{"by flag", Sources{Env: []string{"QUCKCHAT_CONFIG=" + other}, Flags: flags(t, "--config", third)}, third},
		{"by the caller", Sources{File: third, Env: []string{"QUCKCHAT_DATA=" + data}}, third},
	} {
		t.Run(tc.name, func(t *testing.T) {
			snap := load(t, tc.src)
			if snap.Config.File != tc.want || snap.Explain("config").Value != tc.want {
				t.Errorf("read %q, explained as %+v, want %q", snap.Config.File, snap.Explain("config"), tc.want)
			}
		})
	}
	if _, err := Load(Sources{File: filepath.Join(data, "missing.toml")}); err == nil {
		t.Error("a missing file that was named is no error")
	}
}

func TestWhatIsWrongIsSaidAllAtOnce(t *testing.T) {
	for _, tc := range []struct {
		name string
		src  Sources
		want []string // parts of the error
	}{
		{"several layers", Sources{File: file(t, `registration = "opne"`), Env: []string{"QUCKCHAT_BODY_LIMIT=lots"}, Flags: flags(t, "--socket-queue=0")}, []string{
			`test.toml: registration is "opne": write open, invite or closed`,
			`QUCKCHAT_BODY_LIMIT: body_limit is "lots": write a size from 1KiB to 64MiB, such as 100KiB`,
			`--socket-queue: socket.queue is "0": write a whole number from 1 to 65536, such as 512`,
		}},
		{"unknown keys", Sources{File: file(t, "lissten = ':1'\nmax_per_user = 3\nzzz = 1\n[socket]\nlisten = ':1'\n")}, []string{
			"unknown key lissten, did you mean listen?", "unknown key max_per_user, did you mean socket.max_per_user?",
			"unknown key socket.listen, did you mean listen?", "unknown key zzz\n",
		}},
		{"not TOML", Sources{File: file(t, "listen = \":1\"\nlisten 3\n")}, []string{"test.toml: line 2, column 8"}},
		{"the file names another file", Sources{File: file(t, `config = "x"`)}, []string{"config cannot stand in the file: use --config or QUCKCHAT_CONFIG"}},
		{"half of TLS", Sources{Env: []string{"QUCKCHAT_TLS_CERT=/c.pem"}}, []string{"tls_key is empty"}},
		{"GIFs without a key", Sources{Env: []string{"QUCKCHAT_GIFS_PROVIDER=giphy"}}, []string{"gifs.api_key is empty"}},
		{"other half of TLS", Sources{Env: []string{"QUCKCHAT_TLS_KEY=/k.pem"}}, []string{"tls_cert is empty"}},
		{"lifetimes", Sources{Env: []string{"QUCKCHAT_REFRESH_TOKEN_TTL=10m"}}, []string{"write at least 15m"}},
		{"replaced by a later layer", Sources{File: file(t, "rate_limits = 1"), Env: []string{"QUCKCHAT_RATE_LIMITS=on"}}, []string{"write on or off"}},
		{"duration without a unit", Sources{File: file(t, "event_retention = 168")}, []string{"a duration from 1h to 87600h, such as 168h"}},
		{"empty where it cannot be", Sources{File: file(t, `data = ""`)}, []string{`data is "": write something`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Load(tc.src)
			if err == nil {
				t.Fatal("no error")
			}
			for _, part := range tc.want {
				if !strings.Contains(err.Error()+"\n", part) {
					t.Errorf("%q is not in\n%v", part, err)
				}
			}
		})
	}
}

func TestValidateNamesEveryKey(t *testing.T) {
	c := Default()
	c.Listen, c.LogLevel, c.MessageMaxLength, c.TLSKey, c.CORSOrigins = "3000", "loud", 0, "k.pem", []string{"https://a.example", "*"}
	err := c.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{`listen is "3000"`, `log_level is "loud"`, `message_max_length is "0"`, "tls_cert is empty", `cors_origins is "*"`} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in\n%v", part, err)
		}
	}
	if lines := strings.Count(err.Error(), "\n") + 1; lines != 5 {
		t.Errorf("%d lines, want 5:\n%v", lines, err)
	}
}

func TestUnknownVariablesAndBadStoredSettingsAreWarnings(t *testing.T) {
	snap := load(t, Sources{
		Env:    []string{"QUCKCHAT_LISTN=:80", "QUCKCHAT_BANANA=1", "HOME=/"},
		Stored: map[string]string{"registration": "sometimes", "gone": "1", "data": "/elsewhere", "message_max_length": "10"},
	})
	want := []string{
		"a stored setting is ignored: data",
		"a stored setting is ignored: gone",
		"unknown variable QUCKCHAT_BANANA",
		"unknown variable QUCKCHAT_LISTN, did you mean QUCKCHAT_LISTEN?",
		`a stored setting is ignored: registration is "sometimes": write open, invite or closed`,
	}
	if !slices.Equal(snap.Warnings, want) {
		t.Errorf("got %q, want %q", snap.Warnings, want)
	}
	if snap.Config.Registration != "invite" || snap.Config.Data != "./data" || snap.Config.MessageMaxLength != 10 {
		t.Errorf("unexpected values: %+v", snap.Config)
	}
}

func TestCheckBeforeStoring(t *testing.T) {
	for _, tc := range []struct{ key, value, want string }{
		{"registration", "closed", ""},
		{"registration", "none", "write open, invite or closed"},
		{"registraton", "open", "did you mean registration?"},
		{"data", "/x", "data cannot be stored"},
		{"socket.queue", "9", "socket.queue cannot be stored: use --socket-queue, QUCKCHAT_SOCKET_QUEUE or the file"},
	} {
		if err := Check(tc.key, tc.value); (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Check(%q, %q) = %v, want %q", tc.key, tc.value, err, tc.want)
		}
	}
}

func TestSizesAndDurations(t *testing.T) {
	for _, tc := range []struct {
		text string
		want Bytes
		ok   bool
	}{
		{"0", 0, true}, {"512", 512, true}, {"512B", 512, true}, {"100KiB", 100 << 10, true}, {"10 MiB", 10 << 20, true},
		{"2gib", 2 << 30, true}, {"5kB", 5000, true}, {"1MB", 1e6, true}, {"3GB", 3e9, true}, {"8589934591GiB", 8589934591 << 30, true},
		{"8589934592GiB", 0, false}, {"-1", 0, false}, {"1.5MiB", 0, false}, {"MiB", 0, false}, {"", 0, false}, {"10TiB", 0, false},
	} {
		got, err := ParseBytes(tc.text)
		if got != tc.want || (err == nil) != tc.ok {
			t.Errorf("ParseBytes(%q) = %d, %v, want %d", tc.text, got, err, tc.want)
		}
		if again, err := ParseBytes(got.String()); again != got || err != nil {
			t.Errorf("%s does not read back as %d", got, got)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0s", 25 * time.Second: "25s", 15 * time.Minute: "15m", 90 * time.Minute: "1h30m", 720 * time.Hour: "720h",
		time.Hour + time.Second: "1h0m1s", 10 * time.Second: "10s", 10 * time.Minute: "10m", 100 * time.Millisecond: "100ms",
	} {
		if got := format(d); got != want {
			t.Errorf("format(%v) = %s, want %s", d, got, want)
		}
	}
}

func TestTextsAreChecked(t *testing.T) {
	for _, tc := range []struct {
		advise     func(string) string
		text, want string // part of the advice, empty when the text is right
	}{
		{adviseOrigin, "https://chat.example.org", ""},
		{adviseOrigin, "http://[::1]:3000", ""},
		{adviseOrigin, "http://192.168.1.5:3000", ""},
		{adviseOrigin, "https://chat.example.org/", "https://chat.example.org"},
		{adviseOrigin, "https://u:p@Chat.Example.org:443/x?y#z", "https://chat.example.org"},
		{adviseOrigin, "chat.example.org", "scheme, host and port"},
		{adviseOrigin, "ftp://chat.example.org", "scheme, host and port"},
		{adviseOrigin, "https://*.example.org", "scheme, host and port"},
		{adviseOrigin, "https://a.example:99999", "scheme, host and port"},
		{adviseOrigin, "https://", "scheme, host and port"},
		{adviseAddress, ":3000", ""},
		{adviseAddress, "localhost:0", ""},
		{adviseAddress, "[::1]:3000", ""},
		{adviseAddress, "3000", "host:port"},
		{adviseAddress, ":http", "host:port"},
		{adviseAddress, "a b:1", "host:port"},
		{adviseNetwork, "127.0.0.1", ""},
		{adviseNetwork, "fd00::/8", ""},
		{adviseNetwork, "10.1.2.3/8", "10.0.0.0/8"},
		{adviseNetwork, "proxy", "an address or a network"},
	} {
		got := tc.advise(tc.text)
		if tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
			t.Errorf("%q: got %q, want %q", tc.text, got, tc.want)
		}
	}
}

func TestSecretsAreReadAndNeverShown(t *testing.T) {
	type secrets struct {
		Password string `key:"password" secret:"true" reload:"true" enum:"hunter2,hunter3" help:"A secret"`
	}
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	all := settingsOf(reflect.TypeFor[secrets](), "", nil)
	all[0].Default = "hunter3"
	for _, tc := range []struct {
		name     string
		l        layers
		want     string
		problems string // part of the error or of a warning
	}{
		{"plain", layers{file: map[string]string{"password": "hunter2"}}, "hunter2", ""},
		{"from a file", layers{file: map[string]string{"password": "file:" + path}}, "hunter2", ""},
		{"from a variable", layers{env: map[string]string{"QUCKCHAT_PASSWORD": "env:PW", "PW": "hunter2"}}, "hunter2", ""},
		{"from a missing file", layers{file: map[string]string{"password": "file:/nowhere/pw"}}, "", "read the secret: open /nowhere/pw"},
		{"from a missing variable", layers{file: map[string]string{"password": "env:PW"}}, "", "the variable PW is not set"},
		{"refused", layers{file: map[string]string{"password": "swordfish"}}, "", "password does not fit"},
		{"stored reference", layers{stored: map[string]string{"password": "file:" + path}}, "hunter3", "cannot be a reference"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s secrets
			origins, warnings, err := resolve(all, reflect.ValueOf(&s).Elem(), &tc.l)
			said := strings.Join(warnings, "\n")
			if err != nil {
				said += err.Error()
			} else if s.Password != tc.want || origins["password"].Value != "(redacted)" {
				t.Errorf("got %q, shown as %q", s.Password, origins["password"].Value)
			}
			if (tc.problems == "") != (said == "") || !strings.Contains(said, tc.problems) || strings.Contains(said, "swordfish") {
				t.Errorf("said %q, want %q", said, tc.problems)
			}
		})
	}
}

func TestReloadTakesWhatMayChange(t *testing.T) {
	path := file(t, "registration = \"open\"\n")
	live := NewLive(load(t, Sources{File: path}))
	before := live.Get()
	if err := os.WriteFile(path, []byte("registration = \"closed\"\ncors_origins = [\"https://a.example\"]\nlisten = \":4000\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	changed, notReloadable, err := live.Reload(Sources{File: path, Stored: map[string]string{"log_level": "debug"}})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"cors_origins", "registration", "log_level"}; !slices.Equal(changed, want) {
		t.Errorf("changed %q, want %q", changed, want)
	}
	if want := []string{"listen"}; !slices.Equal(notReloadable, want) {
		t.Errorf("not reloadable %q, want %q", notReloadable, want)
	}
	if c := live.Get(); c.Registration != "closed" || c.LogLevel != "debug" || c.Listen != ":3000" || before.Registration != "open" {
		t.Errorf("unexpected values: %+v", c)
	}
	if o := live.Snapshot().Explain("listen"); o.Value != ":3000" || o.Layer != LayerDefault {
		t.Errorf("listen explained as %+v", o)
	}
}

func TestReloadOfAWrongFileChangesNothing(t *testing.T) {
	path := file(t, "registration = \"open\"\n")
	live := NewLive(load(t, Sources{File: path}))
	before := live.Get()
	if _, _, err := live.Reload(Sources{File: path, Env: []string{"QUCKCHAT_LOG_LEVEL=loud"}}); err == nil {
		t.Error("no error")
	}
	if live.Get() != before {
		t.Error("the settings in force have changed")
	}
}

func TestTheCommentedFileHoldsTheDefaults(t *testing.T) {
	commented := Commented()
	if snap := load(t, Sources{File: file(t, commented)}); !slices.Equal(snap.Warnings, nil) || snap.Explain("listen").Layer != LayerDefault {
		t.Errorf("the commented file sets something: %+v", snap)
	}
	active := regexp.MustCompile(`(?m)^# ([a-z_]+ = )`).ReplaceAllString(commented, "$1")
	snap := load(t, Sources{File: file(t, active)})
	want := Default()
	want.File = snap.Config.File
	if !reflect.DeepEqual(snap.Config, want) {
		t.Errorf("got %+v, want %+v", snap.Config, want)
	}
	for _, s := range Settings() {
		if layer := snap.Explain(s.Key).Layer; s.InFile && layer != LayerFile {
			t.Errorf("%s is missing from the file", s.Key)
		}
		if s.Help == "" || strings.HasSuffix(s.Help, ".") {
			t.Errorf("%s: help must be a sentence without a full stop", s.Key)
		}
	}
}

func TestTheReferenceIsUpToDate(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "configuration.md")
	if *update {
		if err := os.WriteFile(path, []byte(Reference()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != Reference() {
		t.Error("docs/configuration.md is not what the tags say: go test ./server/config -update")
	}
}
