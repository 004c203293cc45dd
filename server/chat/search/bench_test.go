package search

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// corpus makes messages of invented words, as often as words of a language: a few are in every other message, many are
// there once.
type corpus struct {
	words []string
	often *rand.Zipf
	dice  *rand.Rand
}

func newCorpus(words int) *corpus {
	c := &corpus{dice: rand.New(rand.NewSource(1))}
	syllables := strings.Fields("ka to mi ren sha lo ver ing an dor pel qui ste ma nu bri ck er on tal")
	seen := map[string]bool{}
	for len(c.words) < words {
		word := ""
		for range 1 + c.dice.Intn(2) + 3*len(c.words)/words {
			word += syllables[c.dice.Intn(len(syllables))]
		}
		if seen[word] {
			word += fmt.Sprint(c.dice.Intn(10000))
		}
		if !seen[word] {
			seen[word] = true
			c.words = append(c.words, word)
		}
	}
	c.often = rand.NewZipf(c.dice, 1.1, 3, uint64(words-1))
	return c
}

func (c *corpus) message() string {
	words := make([]string, 3+c.dice.Intn(15))
	for i := range words {
		words[i] = c.words[c.often.Uint64()]
	}
	return strings.Join(words, " ")
}

// cpuTime is what this process has used: the time on the clock says little on a machine that others use too.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkIndex puts 100,000 messages into a new index in the steps of the indexer.
func BenchmarkIndex(b *testing.B) {
	const count = 100_000
	c := newCorpus(200_000)
	docs := make([]change, count)
	rooms := make([]string, 1000)
	for i := range rooms {
		rooms[i] = storage.NewID()
	}
	texts := make([]string, count)
	for i := range docs {
		texts[i] = c.message()
		docs[i] = change{storage.NewID(), &document{conversationID: rooms[c.dice.Intn(1000)], senderID: rooms[c.dice.Intn(1000)], typ: "text", n: int64(i), created: int64(i)}}
		docs[i].doc.messageID = docs[i].messageID
	}
	for b.Loop() {
		path := filepath.Join(b.TempDir(), "search.db")
		x, err := openFile(storage.Options{Path: path})
		if err != nil {
			b.Fatal(err)
		}
		start := cpuTime()
		for i := 0; i < count; i += 200 {
			for j := i; j < i+200; j++ {
				docs[j].doc.describe(texts[j], false, nil, "")
			}
			if err := x.write(b.Context(), docs[i:i+200], nil); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(cpuTime()-start)/count, "cpu-ns/message")
		if err := x.db.Close(); err != nil {
			b.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(info.Size())/(1<<20), "MiB/100k")
	}
}

// BenchmarkFindAmongAMillion searches a million messages in a thousand conversations of all sizes, as people who are in
// few and in many of them. The first ten words of the corpus are the common ones: the first is in every other message.
func BenchmarkFindAmongAMillion(b *testing.B) {
	const count, rooms = 1_000_000, 1000
	w := newBenchWorld(b, count, rooms)
	common, second, rare := w.corpus.words[0], w.corpus.words[1], w.corpus.words[150_000]
	for _, test := range []struct {
		who   string
		rooms int // of a thousand, those with the lowest numbers are the smallest
		from  int
	}{{"everybody", rooms, 0}, {"in 250 small", 250, 0}, {"in 250 large", 250, 750}, {"in 40 small", 40, 0}, {"in 3 small", 3, 0}, {"in the largest", 1, rooms - 1}} {
		by := w.member(test.who, test.from, test.rooms)
		for name, in := range map[string]Request{
			"common": {Text: common + " "}, "two common": {Text: common + " " + second}, "rare": {Text: rare}, "phrase": {Text: `"` + common + " " + second + `"`}, "substring": {Text: "ing"},
			"without": {Text: common + " -" + second}, "has and before": {Text: common + " before:2001"}, "best": {Text: common, Best: true}, "only a filter": {Text: "from:me"},
		} {
			in.Limit = 20
			b.Run(strings.ReplaceAll(test.who+"/"+name, " ", "_"), func(b *testing.B) {
				total, start := 0, cpuTime()
				for b.Loop() {
					out, err := w.x.Find(b.Context(), by, in)
					if err != nil {
						b.Fatal(err)
					}
					total = out.Total
				}
				b.ReportMetric(float64((cpuTime()-start).Microseconds())/1000/float64(b.N), "cpu-ms/op")
				b.ReportMetric(float64(total), "total")
			})
		}
	}
}

type benchWorld struct {
	b      *testing.B
	db     *storage.DB
	x      *Index
	corpus *corpus
	rooms  []string
}

func newBenchWorld(b *testing.B, count, rooms int) *benchWorld {
	dir, log := b.TempDir(), slog.New(slog.DiscardHandler)
	kept := os.Getenv("QUCKCHAT_BENCH_DIR") // to be used again, and made when it is empty
	if kept != "" {
		dir = kept
	}
	db, err := storage.Open(storage.Options{Path: filepath.Join(dir, "quckchat.db")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	events := event.New(log)
	x, err := Open(filepath.Join(dir, "search.db"), db, events, log)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { x.Close() })
	x.filling.Store(false)
	w := &benchWorld{b, db, x, newCorpus(200_000), make([]string, rooms)}
	last := make([]int64, rooms)
	if !db.Fresh() {
		w.read("SELECT id FROM conversation ORDER BY id", &w.rooms)
		return w
	}
	sizes := rand.NewZipf(w.corpus.dice, 1.2, 10, uint64(rooms-1))
	for i := range rooms {
		w.rooms[i] = storage.NewID()
		w.exec("INSERT INTO conversation (id, type, created_by, last_message_at, created_at, updated_at) VALUES (?, 'group', '', 0, 0, 0)", w.rooms[i])
	}
	start := cpuTime()
	for i := 0; i < count; i += 500 {
		changes := make([]change, 500)
		w.write(func(tx *storage.Tx) error {
			for j := range changes {
				room := rooms - 1 - int(sizes.Uint64())
				last[room]++
				text, id := w.corpus.message(), fmt.Sprintf("%024x", i+j)
				d := &document{messageID: id, conversationID: w.rooms[room], senderID: "somebody", typ: "text", n: last[room], created: int64(i+j) * 1000}
				d.describe(text, false, nil, "")
				changes[j] = change{id, d}
				if _, err := tx.Exec(`INSERT INTO message (conversation_id, n, id, sender_id, type, content, created_at, updated_at) VALUES (?, ?, ?, 'somebody', 'text', ?, ?, ?)`,
					d.conversationID, d.n, id, text, d.created, d.created); err != nil {
					return err
				}
			}
			return nil
		})
		if err := x.index.write(b.Context(), changes, nil); err != nil {
			b.Fatal(err)
		}
	}
	if err := x.index.compact(b.Context(), func() error { return nil }); err != nil { // as the index does by itself
		b.Fatal(err)
	}
	b.Logf("%d messages, %v of CPU time; the smallest conversation has %d, the largest %d", count, cpuTime()-start, last[0], last[rooms-1])
	return w
}

func (w *benchWorld) write(fn func(tx *storage.Tx) error) {
	if err := w.db.Write(context.Background(), "bench", fn); err != nil {
		w.b.Fatal(err)
	}
}

func (w *benchWorld) read(text string, into *[]string) {
	err := w.db.Read(context.Background(), func(v storage.View) error {
		rows, err := v.Query(text)
		if err == nil {
			*into, err = storage.ScanIDs(rows)
		}
		return err
	})
	if err != nil {
		w.b.Fatal(err)
	}
}

func (w *benchWorld) exec(text string, args ...any) {
	w.write(func(tx *storage.Tx) error { _, err := tx.Exec(text, args...); return err })
}

// member is somebody who is in some of the rooms.
func (w *benchWorld) member(name string, from, n int) Scope {
	scope := Scope{storage.NewID(), map[string]int64{}}
	w.exec(`INSERT INTO user (id, username, username_key, display_name, created_at, updated_at) VALUES (?, ?, ?, ?, 0, 0)`,
		scope.UserID, name+scope.UserID, name+scope.UserID, name)
	for _, room := range w.rooms[from : from+n] {
		w.exec("INSERT INTO member (conversation_id, user_id, joined_seq, joined_at) VALUES (?, ?, 1, 0)", room, scope.UserID)
		scope.Floors[room] = 0
	}
	return scope
}
