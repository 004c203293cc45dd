package sfu

import (
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v4"
)

// roamAfter is how long the address that we send to may be silent before another one, from which the client checks, is
// taken instead.
const roamAfter = 3 * time.Second

// roam follows a client whose address changes without its knowledge, behind a router that forgot it. The client nominates
// nothing then: from its side all is as before.
type roam struct {
	mu      sync.Mutex
	current ice.Candidate
}

// request sees each authenticated check of the client, and tells whether to send to where it came from.
func (r *roam) request(m *stun.Message, _, remote ice.Candidate, _ *ice.CandidatePair) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.current == nil, m.Contains(stun.AttrUseCandidate): // ICE itself acts on it
		r.current = remote
		return false
	case remote == r.current, time.Since(r.current.LastReceived()) < roamAfter:
		return false
	}
	r.current = remote
	return true
}
