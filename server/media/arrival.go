package media

import (
	"io"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/quckchat/quckchat/server/api"
)

const (
	uploadsAtOnce = 128 // each holds a buffer of 128 KiB
	uploadsOfOne  = 64  // of one person: somebody with bad intentions leaves places to the others

	readTime      = 30 * time.Second // without a byte
	slowestUpload = 1 << 10          // bytes a second that must come at least, over a whole upload: it holds a place
	slowestGrace  = time.Minute      // before that counts
	partHeadMax   = 64 << 10         // bytes of the head of a part of a form
)

// arrivals are the uploads that are on their way.
type arrivals struct {
	mu    sync.Mutex
	total int
	of    map[string]int // by person
}

// enter takes a place. Codes: OVERLOADED.
func (a *arrivals) enter(userID string) (leave func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.total >= uploadsAtOnce || a.of[userID] >= uploadsOfOne {
		return nil, api.E("OVERLOADED")
	}
	if a.of == nil {
		a.of = map[string]int{}
	}
	a.total++
	a.of[userID]++
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.total--
		if a.of[userID]--; a.of[userID] == 0 {
			delete(a.of, userID)
		}
	}, nil
}

func (a *arrivals) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total
}

// paced lets a body take as long as it needs while it moves.
type paced struct {
	body    io.Reader
	control *http.ResponseController
	now     func() time.Time
	began   time.Time
	read    int64
	most    int64 // what may be read in all before the next part must have begun
}

func (s *Service) paced(body io.Reader, control *http.ResponseController) *paced {
	return &paced{body: body, control: control, now: s.now, began: s.now(), most: math.MaxInt64}
}

// head bounds what comes until content is called: the head of a part is kept in memory.
func (p *paced) head() { p.most = p.read + partHeadMax }

func (p *paced) content() { p.most = math.MaxInt64 }

// errSlow is that of a body which comes too slowly.
var errSlow error = slow{}

type slow struct{}

func (slow) Error() string { return "the body comes too slowly" }
func (slow) Timeout() bool { return true }

// Read fails with errSlow, a timeout, or io.ErrShortBuffer for a head that is too long.
func (p *paced) Read(b []byte) (int, error) {
	if p.read >= p.most {
		return 0, io.ErrShortBuffer
	}
	if err := p.control.SetReadDeadline(time.Now().Add(readTime)); err != nil {
		return 0, err
	}
	n, err := p.body.Read(b[:min(int64(len(b)), p.most-p.read)])
	p.read += int64(n)
	if late := p.now().Sub(p.began) - slowestGrace; err == nil && late > 0 && p.read < slowestUpload*int64(late/time.Second) {
		err = errSlow
		_ = p.control.SetReadDeadline(time.Now()) // or net/http waits for the rest before it answers
	}
	return n, err
}
