package sfu

import (
	"sync"
	"time"
)

// packet is one RTP packet of a publisher, without its header extensions and padding.
type packet struct {
	seq     uint16
	ts      uint32
	marker  bool
	key     bool // a decoder can begin here
	vp8     vp8
	at      time.Time
	payload []byte
}

// What is kept of each layer for subscribers who ask again: three seconds of video at 2 Mbit/s, two and a half of audio.
const (
	keptVideo = 512
	keptAudio = 128
)

// cache keeps the last packets of a layer, once for all its subscribers. Its memory is what they took: at most 512 times
// 1,500 bytes.
type cache struct {
	mu   sync.Mutex
	kept []kept
}

type kept struct {
	full    bool
	seq     uint16
	ts      uint32
	marker  bool
	payload []byte
}

func newCache(size int) *cache { return &cache{kept: make([]kept, size)} }

func (c *cache) put(p *packet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := &c.kept[int(p.seq)%len(c.kept)]
	if k.full && newer(k.seq, p.seq) {
		return
	}
	if cap(k.payload) < len(p.payload) {
		k.payload = make([]byte, 0, (len(p.payload)+255)&^255)
	}
	k.full, k.seq, k.ts, k.marker, k.payload = true, p.seq, p.ts, p.marker, append(k.payload[:0], p.payload...)
}

// copy finds a packet again; its payload is appended to buf.
func (c *cache) copy(seq uint16, buf []byte) (p packet, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := &c.kept[int(seq)%len(c.kept)]
	if !k.full || k.seq != seq {
		return packet{}, false
	}
	return packet{seq: seq, ts: k.ts, marker: k.marker, payload: append(buf[:0], k.payload...)}, true
}
