package sfu

import (
	"slices"
	"time"
)

// How speech is told from noise. Levels are those of RFC 6464, in dB below the loudest possible: 0 is loud, 127 is silence.
const (
	speechLevel  = 50                     // as loud as this may be speech
	speechBegins = 300 * time.Millisecond // of speech within the last second
	speechEnds   = 1200 * time.Millisecond
	takeover     = 6 // dB that somebody must be louder than who is first now
	takeoverHold = 800 * time.Millisecond
)

// voice follows the loudness of one microphone.
type voice struct {
	peer     string
	loud     float64 // dB above silence, smoothed over some 400 ms
	active   time.Duration
	silent   time.Duration
	speaking bool
}

// hear takes the loudest level of the last interval; heard is false when no packet came.
func (v *voice) hear(level uint8, heard bool, interval time.Duration) {
	now := 0.0
	if heard {
		now = 127 - float64(level&0x7F)
	}
	v.loud += (now - v.loud) * min(1, interval.Seconds()/0.4)
	if heard && level&0x7F <= speechLevel {
		v.active, v.silent = min(v.active+interval, time.Second), 0
	} else {
		v.active, v.silent = max(v.active-interval/2, 0), v.silent+interval
	}
	switch {
	case v.active >= speechBegins:
		v.speaking = true
	case v.silent >= speechEnds:
		v.speaking = false
	}
}

// floor is who speaks, the one whom the others listen to first.
type floor struct {
	speakers []string
	rival    string
	since    time.Duration // for how long the rival has been louder
}

// update takes all voices and tells whether anything changed. The first speaker gives way only to somebody who has been
// clearly louder for a while; coughs and short answers do not move the picture.
func (f *floor) update(voices []*voice, interval time.Duration) bool {
	var now []*voice
	for _, v := range voices {
		if v.speaking {
			now = append(now, v)
		}
	}
	slices.SortStableFunc(now, func(a, b *voice) int {
		switch {
		case a.loud > b.loud:
			return -1
		case a.loud < b.loud:
			return 1
		}
		return 0
	})
	if len(f.speakers) > 0 && len(now) > 0 && now[0].peer != f.speakers[0] {
		if at := slices.IndexFunc(now, func(v *voice) bool { return v.peer == f.speakers[0] }); at > 0 {
			switch {
			case now[0].loud < now[at].loud+takeover:
				f.rival, f.since = "", 0
			case now[0].peer == f.rival:
				f.since += interval
			default:
				f.rival, f.since = now[0].peer, interval
			}
			if f.since < takeoverHold {
				first := now[at]
				now = slices.Insert(slices.Delete(now, at, at+1), 0, first)
			}
		}
	} else {
		f.rival, f.since = "", 0
	}
	// Behind the first the order is that of the names: who else speaks matters, not how loud.
	if len(now) > 2 {
		slices.SortFunc(now[1:], func(a, b *voice) int {
			if a.peer < b.peer {
				return -1
			}
			return 1
		})
	}
	same := len(now) == len(f.speakers)
	for i := 0; same && i < len(now); i++ {
		same = now[i].peer == f.speakers[i]
	}
	if same {
		return false
	}
	f.speakers = make([]string, len(now))
	for i, v := range now {
		f.speakers[i] = v.peer
	}
	return true
}
