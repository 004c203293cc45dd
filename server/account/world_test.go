package account_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/config"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// world is the accounts of a server on a real database, behind its table, with a clock of its own.
type world struct {
	t      *testing.T
	db     *storage.DB
	events *event.Log
	*account.Service
	router *chi.Mux

	mu  sync.Mutex
	now time.Time
}

const password = "correct horse 9"

func newWorld(t *testing.T, change ...func(c *config.Config)) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), router: chi.NewRouter()}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	dir := t.TempDir()
	w.events = event.New(log)
	var err error
	w.db, err = storage.Open(storage.Options{Path: filepath.Join(dir, storage.FileName), Now: w.clock, AfterBatch: w.events.Flush, Log: log})
	must(t, err)
	t.Cleanup(func() { must(t, w.db.Close()) })
	must(t, w.events.Attach(w.db))
	cache, _, err := storage.OpenCache(filepath.Join(dir, "cache"), log)
	must(t, err)
	t.Cleanup(func() { must(t, cache.Close()) })
	secrets, err := account.LoadSecrets(dir)
	must(t, err)
	c := config.Default()
	c.Registration = "open"
	for _, f := range change {
		f(&c)
	}
	w.Service = account.New(account.Options{DB: w.db, Events: w.events, Cache: cache, Config: config.Fixed(c), Secrets: secrets, Log: log})
	w.CheapHashes()
	w.events.Register(w.Service.Events()...)
	_, err = api.NewTable(api.Config{Prefix: "/api/v1", MaxBody: 100 << 10, Authenticate: w.Service, Log: log, Describe: describe}, w.router, w.Routes())
	must(t, err)
	return w
}

// describe plays the server around the table: a request header says who is on the admin socket.
func describe(r *http.Request) api.Caller {
	host, _, _ := strings.Cut(r.RemoteAddr, ":")
	by := api.Caller{IP: host, UserAgent: r.UserAgent(), Locale: r.Header.Get("Accept-Language"), DeviceID: r.Header.Get("X-Device-Id")}
	if name := r.Header.Get("Test-Local"); name != "" {
		by.Local, by.Role = name, api.RoleSuperAdmin
	}
	return by
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) sleep(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// reply is an answer of the API.
type reply struct {
	status int
	raw    []byte
	body   map[string]any
}

func (r reply) text(key string) string { s, _ := r.body[key].(string); return s }

// person is somebody who calls; the zero value is a stranger.
type person struct {
	id, token, refresh, local, ip string
	headers                       []string
}

var local = person{local: "root"}

// do calls the API as somebody, with a body of pairs of names and values.
func (w *world) do(who person, method, path string, pairs ...any) reply {
	w.t.Helper()
	body := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		body[pairs[i].(string)] = pairs[i+1]
	}
	var reader *bytes.Reader = bytes.NewReader(nil)
	if len(pairs) > 0 {
		raw, err := json.Marshal(body)
		must(w.t, err)
		reader = bytes.NewReader(raw)
	}
	r := httptest.NewRequest(method, "/api/v1"+path, reader)
	r.RemoteAddr = "192.168.1.7:4000"
	if who.ip != "" {
		r.RemoteAddr = who.ip + ":4000"
	}
	r.Header.Set("Content-Type", "application/json")
	if who.token != "" {
		r.Header.Set("Authorization", "Bearer "+who.token)
	}
	if who.local != "" {
		r.Header.Set("Test-Local", who.local)
	}
	for i := 0; i+1 < len(who.headers); i += 2 {
		r.Header.Set(who.headers[i], who.headers[i+1])
	}
	recorder := httptest.NewRecorder()
	w.router.ServeHTTP(recorder, r)
	out := reply{status: recorder.Code, raw: recorder.Body.Bytes()}
	_ = json.Unmarshal(out.raw, &out.body)
	return out
}

// ok is do that must succeed with this status.
func (w *world) ok(status int, who person, method, path string, pairs ...any) reply {
	w.t.Helper()
	r := w.do(who, method, path, pairs...)
	if r.status != status {
		w.t.Fatalf("%s %s: %d, want %d: %s", method, path, r.status, status, r.raw)
	}
	return r
}

// fails is do that must be refused with this code.
func (w *world) fails(code string, who person, method, path string, pairs ...any) reply {
	w.t.Helper()
	r := w.do(who, method, path, pairs...)
	if r.status < 400 || r.text("code") != code {
		w.t.Fatalf("%s %s: %d %s, want %s", method, path, r.status, r.raw, code)
	}
	return r
}

func (r reply) person() person {
	user, _ := r.body["user"].(map[string]any)
	id, _ := user["_id"].(string)
	return person{id: id, token: r.text("accessToken"), refresh: r.text("refreshToken")}
}

var numbers = 600_000_000

// join registers somebody in the form of the phone app.
func (w *world) join(username string) person {
	w.t.Helper()
	numbers++
	return w.ok(201, person{}, "POST", "/auth/register", "phoneNumber", fmt.Sprintf("+34%d", numbers), "password", password,
		"username", username, "displayName", strings.ToUpper(username[:1])+username[1:]).person()
}

// login signs somebody in again.
func (w *world) login(username string) person {
	w.t.Helper()
	return w.ok(200, person{}, "POST", "/auth/login", "username", username, "password", password).person()
}

// told returns the live events since the last call, as "kind scope scopeID", and their values.
func (w *world) told() (names []string, live []event.Live) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	w.events.Publish(ctx, func(batch []event.Live) { live = append(live, batch...) }, func(event.Live) {})
	for _, e := range live {
		names = append(names, e.Kind+" "+e.Scope+" "+e.ScopeID)
	}
	return names, live
}

// late renders events from the tables, as somebody gets them who was away.
func (w *world) late(live []event.Live) (values []any) {
	w.t.Helper()
	pointers := make([]event.Event, len(live))
	for i, e := range live {
		pointers[i] = e.Event
	}
	must(w.t, w.db.Read(w.t.Context(), func(v storage.View) (err error) {
		values, err = w.events.Values(v, pointers)
		return err
	}))
	return values
}

// audited returns the actions in the audit log, and its whole text.
func (w *world) audited() (actions []string, all string) {
	w.t.Helper()
	must(w.t, w.db.Read(w.t.Context(), func(v storage.View) error {
		rows, err := v.Query("SELECT action, actor_kind || '|' || actor_id || '|' || target_kind || '|' || target_id || '|' || before || '|' || after FROM audit ORDER BY id")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var action, rest string
			if err := rows.Scan(&action, &rest); err != nil {
				return err
			}
			actions, all = append(actions, action), all+action+"|"+rest+"\n"
		}
		return rows.Err()
	}))
	return actions, all
}

// manyPeople makes guests and runs a statement for each of them, with the arguments and the guest's id.
func (w *world) manyPeople(t *testing.T, n int, statement string, args ...any) {
	t.Helper()
	for at := 0; at < n; at += 1000 {
		must(t, w.db.Write(t.Context(), "guests", func(tx *storage.Tx) error {
			for i := at; i < min(n, at+1000); i++ {
				id := fmt.Sprint("guest", i)
				if _, err := tx.Exec(`INSERT INTO user (id, username, username_key, display_name, search_key, created_at, updated_at)
					VALUES (?1, ?1, ?1, ?1, ?1, 1, 1) ON CONFLICT DO NOTHING`, id); err != nil {
					return err
				}
				if _, err := tx.Exec(statement, append(slices.Clone(args), id)...); err != nil {
					return err
				}
			}
			return nil
		}))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
