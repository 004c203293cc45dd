package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime/pprof"
	"sync"

	"github.com/quckchat/quckchat/turn/sfu"
)

// sfuSignal is one line between the generator and the SFU in a process of its own, in either direction.
type sfuSignal struct {
	Peer   string      `json:"peer"`
	Join   bool        `json:"join,omitempty"` // with SDP: an offer
	Offer  *sfu.Offer  `json:"offer,omitempty"`
	Answer *sfu.Answer `json:"answer,omitempty"`
	Number uint64      `json:"number,omitempty"` // of the offer that SDP answers
	SDP    string      `json:"sdp,omitempty"`
	Stats  *sfu.Stats  `json:"stats,omitempty"` // asked for by a line without a peer
	Error  string      `json:"error,omitempty"`
}

// runSFU serves one room until standard input ends. Its argument, if there is one, is a file for a profile of the CPU.
func runSFU(args []string) error {
	if len(args) == 1 {
		file, err := os.Create(args[0])
		if err != nil {
			return err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	server, err := sfu.New(sfu.Options{Listen: "127.0.0.1:0", Limits: sfu.Limits{Packets: 1 << 40, CPU: 1 << 10}})
	if err != nil {
		return err
	}
	defer server.Close()
	room, err := server.Room("bench", sfu.RoomOptions{})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	encoder := json.NewEncoder(os.Stdout)
	tell := func(s sfuSignal) {
		mu.Lock()
		defer mu.Unlock()
		_ = encoder.Encode(s)
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var s sfuSignal
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			return fmt.Errorf("read a signal: %w", err)
		}
		var err error
		switch {
		case s.Peer == "":
			stats := server.Stats()
			tell(sfuSignal{Stats: &stats})
		case s.Join:
			var peer *sfu.Peer
			peer, err = room.Join(s.Peer, sfu.PeerOptions{
				OnOffer:  func(o sfu.Offer) { tell(sfuSignal{Peer: s.Peer, Offer: &o}) },
				OnAnswer: func(a sfu.Answer) { tell(sfuSignal{Peer: s.Peer, Answer: &a}) },
			})
			if err == nil {
				err = peer.Offer(s.SDP, nil)
			}
		default:
			if peer := room.Peer(s.Peer); peer != nil {
				err = peer.Answer(s.Number, s.SDP)
			}
		}
		if err != nil {
			tell(sfuSignal{Peer: s.Peer, Error: err.Error()})
		}
	}
	return lines.Err()
}
