package sfu

import "sync"

// events runs functions one after another, in order, on a goroutine that exists only while there are some. It holds what its
// users add: a room adds two for each track and one for each peer; latest replaces what still waits under its name.
type events struct {
	mu      sync.Mutex
	queue   []event
	running bool
	wg      *sync.WaitGroup
}

type event struct {
	name string
	run  func()
}

func (e *events) add(run func()) { e.put(event{run: run}) }

func (e *events) latest(name string, run func()) { e.put(event{name, run}) }

func (e *events) put(add event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.queue {
		if add.name != "" && e.queue[i].name == add.name {
			e.queue[i] = add
			return
		}
	}
	e.queue = append(e.queue, add)
	if !e.running {
		e.running = true
		e.wg.Go(e.drain)
	}
}

func (e *events) drain() {
	for {
		e.mu.Lock()
		if len(e.queue) == 0 {
			e.running, e.queue = false, nil
			e.mu.Unlock()
			return
		}
		next := e.queue[0]
		e.queue = e.queue[1:]
		e.mu.Unlock()
		next.run()
	}
}

// waiting is how many functions have not run yet.
func (e *events) waiting() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.queue)
}
