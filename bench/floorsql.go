package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// floorRows is what the SQLite floor came to.
type floorRows struct {
	Rows     int           `json:"rows"`
	Wall     time.Duration `json:"wall"`
	CPU      time.Duration `json:"cpu"`
	P50, P99 time.Duration // from when a row was due (or asked for, flat out) to its commit
}

func (r floorRows) rate() float64   { return float64(r.Rows) / r.Wall.Seconds() }
func (r floorRows) perCPU() float64 { return float64(r.Rows) / r.CPU.Seconds() }

const (
	floorCallers = 64
	floorBatch   = 256
)

type floorRow struct {
	k    int
	done chan error
}

// runFloorSQL is the floor of durable sends, in a process of its own: 64 callers insert rows of the size of a message
// through one connection that commits what is waiting, with synchronous=FULL on WAL, and nothing else: no membership, no
// counter, no event, no index of words, no sockets. Its arguments are a directory, rows a second (0: as fast as it goes)
// and seconds. It prints a floorRows.
func runFloorSQL(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("-floor-sql DIR RATE SECONDS")
	}
	rate, err := strconv.ParseFloat(args[1], 64)
	if err != nil {
		return fmt.Errorf("rate: %w", err)
	}
	seconds, err := strconv.ParseFloat(args[2], 64)
	if err != nil {
		return fmt.Errorf("seconds: %w", err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(args[0], "floor.db")+
		"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=temp_store(2)&_pragma=cache_size(-16000)")
	if err != nil {
		return err
	}
	defer db.Close()
	conn, err := db.Conn(context.Background())
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, text := range []string{
		"CREATE TABLE message (id INTEGER PRIMARY KEY, conversation INTEGER NOT NULL, n INTEGER NOT NULL, sender INTEGER NOT NULL, content TEXT NOT NULL)",
		"CREATE UNIQUE INDEX message_n ON message (conversation, n)",
	} {
		if _, err := conn.ExecContext(context.Background(), text); err != nil {
			return err
		}
	}

	queue := make(chan *floorRow, floorCallers)
	failed := make(chan error, 1)
	go func() { failed <- floorWriter(conn, queue) }()

	var mu sync.Mutex
	var latency recorder
	next := 0
	length := time.Duration(seconds * float64(time.Second))
	count := int(rate * seconds)
	start, used := now(), cpuTime(os.Getpid())
	var callers sync.WaitGroup
	for range floorCallers {
		callers.Go(func() {
			row := &floorRow{done: make(chan error, 1)}
			for {
				mu.Lock()
				row.k = next
				next++
				mu.Unlock()
				due := now()
				if rate > 0 {
					if row.k >= count {
						return
					}
					due = start + int64(float64(row.k)/rate*float64(time.Second))
					time.Sleep(time.Duration(due - now()))
				}
				if rate == 0 && due-start >= int64(length) {
					return
				}
				queue <- row
				if <-row.done != nil {
					return
				}
				mu.Lock()
				latency.add(time.Duration(now() - due))
				mu.Unlock()
			}
		})
	}
	callers.Wait()
	result := floorRows{
		Rows: int(latency.n), Wall: time.Duration(now() - start), CPU: cpuTime(os.Getpid()) - used,
		P50: latency.quantile(0.5), P99: latency.quantile(0.99),
	}
	close(queue)
	if err := <-failed; err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

// floorWriter commits what is waiting, until the queue is closed or the database fails, which it tells every caller.
func floorWriter(conn *sql.Conn, queue chan *floorRow) error {
	ctx := context.Background()
	statements := map[string]*sql.Stmt{}
	for _, text := range []string{"BEGIN IMMEDIATE", "COMMIT", "INSERT INTO message (conversation, n, sender, content) VALUES (?, ?, ?, ?)"} {
		s, err := conn.PrepareContext(ctx, text)
		if err != nil {
			return err
		}
		defer s.Close()
		statements[text[:6]] = s
	}
	commit := func(batch []*floorRow) error {
		if _, err := statements["BEGIN "].ExecContext(ctx); err != nil {
			return err
		}
		for _, r := range batch {
			if _, err := statements["INSERT"].ExecContext(ctx, r.k%250, r.k, r.k%500, contents[r.k%len(contents)]); err != nil {
				return err
			}
		}
		_, err := statements["COMMIT"].ExecContext(ctx)
		return err
	}
	var first error
	batch := make([]*floorRow, 0, floorBatch)
	for r := range queue {
		batch = append(batch[:0], r)
	fill:
		for len(batch) < floorBatch {
			select {
			case more, ok := <-queue:
				if !ok {
					break fill
				}
				batch = append(batch, more)
			default:
				break fill
			}
		}
		err := commit(batch)
		if err != nil && first == nil {
			first = err
		}
		for _, r := range batch {
			r.done <- err
		}
	}
	return first
}

// floorSQL runs this program again as the bare SQLite, on the disk that the server uses.
func (b *bench) floorSQL(ctx context.Context, rate float64, length time.Duration) (floorRows, error) {
	var result floorRows
	dir, err := os.MkdirTemp(b.tmp, "floor-")
	if err != nil {
		return result, err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(ctx, 2*length+30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.self, "-floor-sql", dir, fmt.Sprint(rate), fmt.Sprint(length.Seconds()))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return result, fmt.Errorf("bare SQLite: %w", err)
	}
	return result, json.Unmarshal(out, &result)
}
