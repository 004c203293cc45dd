package storage

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"sync"
	"time"
)

// ids hands out the counter that keeps identifiers of one millisecond in order.
var ids struct {
	sync.Mutex
	ms    uint64
	count uint16
}

// NewID returns a new identifier: 24 lower-case hex characters, ordered by time. The first 12 are unix
// milliseconds, then a counter that keeps ids made by one process strictly increasing, then 32 random bits.
// An id is a name, not a secret.
func NewID() string {
	ids.Lock()
	ms := uint64(time.Now().UnixMilli())
	if ms > ids.ms {
		ids.ms, ids.count = ms, 0
	} else if ids.count++; ids.count == 0 {
		ids.ms++ // the counter is used up, or the clock went back: borrow the next millisecond
	}
	var b [12]byte
	binary.BigEndian.PutUint64(b[:8], ids.ms<<16|uint64(ids.count))
	ids.Unlock()
	_, _ = rand.Read(b[8:]) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b[:])
}

// IsID reports whether s has the form of an identifier made by NewID.
func IsID(s string) bool {
	if len(s) != 24 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
