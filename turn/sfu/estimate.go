package sfu

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/cc"
	"github.com/pion/interceptor/pkg/gcc"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
)

// What the estimate of a subscriber's bandwidth starts at and stays between, in bit/s.
const (
	startEstimate = 2_000_000
	leastEstimate = 50_000
	mostEstimate  = 50_000_000
)

// arrivalsOver is the time over which the rate that arrives is measured.
const arrivalsOver = 500 * time.Millisecond

// estimate is what the line of one subscriber can bear. Google congestion control finds out when a line is full, but rises by
// 8 % a second only, and sinks to what happens to be sent when packets were late for another reason. So what a probe has proven to
// arrive counts too, until congestion control sees the line full.
type estimate struct {
	*gcc.SendSideBWE
	numbered atomic.Bool  // the client numbers packets across all streams: its feedback feeds the estimator
	remb     atomic.Int64 // bit/s; what a client says that does not
	proven   atomic.Int64 // bit/s; 0 when nothing is

	mu       sync.Mutex
	sizes    [4096]uint16 // of packets that nothing was heard of, by their number
	arrivals []arrival
	probing  bool
	next     time.Time
	pause    time.Duration
}

// arrival is what one feedback tells.
type arrival struct {
	at             time.Time
	bytes          int
	received, lost int
}

func newEstimate() (*estimate, error) {
	g, err := gcc.NewSendSideBWE(gcc.SendSideBWEInitialBitrate(startEstimate), gcc.SendSideBWEMinBitrate(leastEstimate),
		gcc.SendSideBWEMaxBitrate(mostEstimate), gcc.SendSideBWEPacer(gcc.NewNoOpPacer()))
	return &estimate{SendSideBWE: g}, err
}

// AddStream implements cc.BandwidthEstimator. It is called only for streams whose packets are numbered.
func (e *estimate) AddStream(info *interceptor.StreamInfo, w interceptor.RTPWriter) interceptor.RTPWriter {
	id := uint8(0)
	for _, x := range info.RTPHeaderExtensions {
		if x.URI == sdp.TransportCCURI {
			id = uint8(x.ID)
		}
	}
	return e.SendSideBWE.AddStream(info, interceptor.RTPWriterFunc(func(h *rtp.Header, payload []byte, a interceptor.Attributes) (int, error) {
		if b := h.GetExtension(id); len(b) == 2 {
			e.mu.Lock()
			e.sizes[(int(b[0])<<8|int(b[1]))%len(e.sizes)] = uint16(h.MarshalSize() + len(payload))
			e.mu.Unlock()
		}
		return w.Write(h, payload, a)
	}))
}

// WriteRTCP implements cc.BandwidthEstimator.
func (e *estimate) WriteRTCP(packets []rtcp.Packet, a interceptor.Attributes) error {
	for _, p := range packets {
		if feedback, ok := p.(*rtcp.TransportLayerCC); ok {
			e.heard(feedback, time.Now())
		}
	}
	if err := e.SendSideBWE.WriteRTCP(packets, a); err != nil {
		return err
	}
	if e.proven.Load() > 0 && e.GetStats()["usage"] == "overuse" {
		e.proven.Store(0)
	}
	return nil
}

// heard notes what a feedback says of packets that nothing was heard of before.
func (e *estimate) heard(feedback *rtcp.TransportLayerCC, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	heard := arrival{at: now}
	seq, left := feedback.BaseSequenceNumber, int(feedback.PacketStatusCount)
	status := func(symbol uint16) {
		if left == 0 {
			return
		}
		left--
		size := &e.sizes[int(seq)%len(e.sizes)]
		seq++
		switch {
		case *size == 0:
		case symbol == rtcp.TypeTCCPacketNotReceived:
			heard.lost++
		default:
			heard.received++
			heard.bytes += int(*size)
		}
		*size = 0
	}
	for _, chunk := range feedback.PacketChunks {
		switch chunk := chunk.(type) {
		case *rtcp.RunLengthChunk:
			for range min(int(chunk.RunLength), left) {
				status(chunk.PacketStatusSymbol)
			}
		case *rtcp.StatusVectorChunk:
			for _, symbol := range chunk.SymbolList {
				status(symbol)
			}
		}
	}
	kept := e.arrivals[:0]
	for _, x := range e.arrivals {
		if now.Sub(x.at) < arrivalsOver {
			kept = append(kept, x)
		}
	}
	e.arrivals = append(kept, heard)
}

// arrives is the rate in bit/s at which packets arrived lately, and the share that did not.
func (e *estimate) arrives(now time.Time) (bits int64, loss float64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	bytes, received, lost := 0, 0, 0
	for _, x := range e.arrivals {
		if now.Sub(x.at) < arrivalsOver {
			bytes, received, lost = bytes+x.bytes, received+x.received, lost+x.lost
		}
	}
	if received+lost == 0 {
		return 0, 0
	}
	return int64(float64(bytes) * 8 / arrivalsOver.Seconds()), float64(lost) / float64(received+lost)
}

// bits is the estimate in bit/s.
func (e *estimate) bits() int64 {
	if e.numbered.Load() {
		return max(int64(e.GetTargetBitrate()), e.proven.Load())
	}
	if r := e.remb.Load(); r > 0 {
		return r
	}
	return startEstimate
}

var _ cc.BandwidthEstimator = (*estimate)(nil)
