package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/gorilla/websocket"
)

// floorHub is the floor of the fan-out, in a process of its own: the hub of gorilla's chat example, with a reader and a
// writer goroutine and a channel of 256 for each connection, one websocket message for each delivery, a client dropped
// when its channel is full. It checks nobody, stores nothing and acknowledges nothing. What it tells is as long as
// QuckChat's message:new, and carries the clientId, so that one generator drives both.
type floorHub struct {
	register, unregister chan *floorPeer
	broadcast            chan []byte
	size                 int
	done                 chan struct{} // closed to end run
}

type floorPeer struct {
	conn *websocket.Conn
	send chan []byte
}

const floorWriteWait = 10 * time.Second

// runFloorHub serves until standard input ends. Its arguments are the port and the size of a frame.
func runFloorHub(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("-floor-hub PORT FRAMESIZE")
	}
	size, err := strconv.Atoi(args[1])
	if err != nil {
		return fmt.Errorf("frame size: %w", err)
	}
	hub := &floorHub{register: make(chan *floorPeer), unregister: make(chan *floorPeer), broadcast: make(chan []byte, 256), size: size, done: make(chan struct{})}
	go hub.run()
	mux := http.NewServeMux()
	mux.HandleFunc("/api/v1/ws", hub.serve)
	mux.HandleFunc("/api/v1/health/ready", func(http.ResponseWriter, *http.Request) {})
	server := &http.Server{Addr: "127.0.0.1:" + args[0], Handler: mux}
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1))
		server.Close()
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return nil
}

func (h *floorHub) run() {
	peers := map[*floorPeer]bool{}
	for {
		select {
		case <-h.done:
			return
		case p := <-h.register:
			peers[p] = true
			p.send <- []byte(`{"event":"hello","data":{"seq":0}}`)
		case p := <-h.unregister:
			if peers[p] {
				delete(peers, p)
				close(p.send)
			}
		case frame := <-h.broadcast:
			for p := range peers {
				select {
				case p.send <- frame:
				default:
					delete(peers, p)
					close(p.send)
				}
			}
		}
	}
}

func (h *floorHub) serve(w http.ResponseWriter, r *http.Request) {
	upgrader := websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024, Subprotocols: []string{"quckchat.v1"}}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	p := &floorPeer{conn: conn, send: make(chan []byte, 256)}
	h.register <- p
	go p.write()
	defer func() {
		h.unregister <- p
		conn.Close()
	}()
	conn.SetReadLimit(64 << 10)
	for {
		_, frame, err := conn.ReadMessage()
		if err != nil {
			return
		}
		if i := bytes.Index(frame, keyClientID); i >= 0 {
			id := frame[i+len(`"clientId":"`):]
			if end := bytes.IndexByte(id, '"'); end >= 0 {
				h.broadcast <- h.frame(id[:end])
			}
		}
	}
}

// frame is an event around a clientId, filled up to the size of the real one.
func (h *floorHub) frame(clientID []byte) []byte {
	const head, middle, tail = `{"seq":1,"event":"message:new","data":{"content":"`, `","clientId":"`, `"}}`
	fill := max(h.size-len(head)-len(middle)-len(clientID)-len(tail), 0)
	b := make([]byte, 0, h.size+64)
	b = append(append(append(b, head...), bytes.Repeat([]byte("x"), fill)...), middle...)
	return append(append(b, clientID...), tail...)
}

func (p *floorPeer) write() {
	ping := time.NewTicker(30 * time.Second)
	defer func() {
		ping.Stop()
		p.conn.Close()
	}()
	for {
		select {
		case frame, ok := <-p.send:
			_ = p.conn.SetWriteDeadline(time.Now().Add(floorWriteWait))
			if !ok {
				_ = p.conn.WriteMessage(websocket.CloseMessage, nil)
				return
			}
			if p.conn.WriteMessage(websocket.TextMessage, frame) != nil {
				return
			}
		case <-ping.C:
			_ = p.conn.SetWriteDeadline(time.Now().Add(floorWriteWait))
			if p.conn.WriteMessage(websocket.PingMessage, nil) != nil {
				return
			}
		}
	}
}

// startFloorHub runs this program again as the bare hub.
func (b *bench) startFloorHub(ctx context.Context, frameSize int) (*process, error) {
	to, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p, err := b.spawn("hub", b.self, nil, "-floor-hub", strconv.Itoa(int(to.Port())), strconv.Itoa(frameSize))
	if err != nil {
		return nil, err
	}
	p.to = to
	if err := p.waitReady(ctx, "http://"+to.String()+"/api/v1/health/ready"); err != nil {
		p.stop()
		return nil, p.died(err)
	}
	return p, nil
}
