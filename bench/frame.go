package main

import (
	"bytes"
	"encoding/binary"
	"strconv"
)

// Opcodes of RFC 6455, section 5.2.
const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

// splitFrame takes one whole unfragmented frame of a server off b. An op of -1 says that b does not hold a whole one yet,
// -2 that it holds what a server must not send us.
func splitFrame(b []byte) (op int, payload, rest []byte) {
	if len(b) < 2 {
		return -1, nil, b
	}
	if b[0]&0xf0 != 0x80 || b[1]&0x80 != 0 { // fragmented, compressed or masked
		return -2, nil, b
	}
	head, size := 2, uint64(b[1])
	switch size {
	case 126:
		head = 4
		if len(b) < head {
			return -1, nil, b
		}
		size = uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		head = 10
		if len(b) < head {
			return -1, nil, b
		}
		size = binary.BigEndian.Uint64(b[2:])
	}
	if uint64(len(b)-head) < size {
		return -1, nil, b
	}
	end := head + int(size)
	return int(b[0] & 0x0f), b[head:end], b[end:]
}

// appendFrame adds a frame as a client sends it. The mask is zero, so that the payload stays as it is: masking protects
// proxies, of which there are none here, and the server cannot tell the difference.
func appendFrame(b []byte, op byte, payload []byte) []byte {
	b = append(b, 0x80|op)
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

// Beginnings of the frames of the native socket (docs: design, section 7).
var (
	prefixSeq   = []byte(`{"seq":`)
	prefixID    = []byte(`{"id":`)
	prefixEvent = []byte(`{"event":"`)
	messageNew  = []byte(`,"event":"message:new"`)
	answerOK    = []byte(`,"ok":true`)
	keyN        = []byte(`"n":`)
	keySeq      = []byte(`"seq":`)
	keyClientID = []byte(`"clientId":"b-`)
)

// number reads the digits at the start of b and returns what follows them.
func number(b []byte) (int64, []byte) {
	var n int64
	for i, c := range b {
		if c < '0' || c > '9' {
			return n, b[i:]
		}
		n = n*10 + int64(c-'0')
	}
	return n, nil
}

// numberAfter finds a key and reads the number behind it, -1 when there is none.
func numberAfter(b, key []byte) int64 {
	i := bytes.Index(b, key)
	if i < 0 {
		return -1
	}
	n, _ := number(b[i+len(key):])
	return n
}

// clientID names message k of a run, so that whoever sees the message can look it up in the ledger.
func clientID(b []byte, run, k int) []byte {
	b = strconv.AppendInt(append(b, "b-"...), int64(run), 10)
	return strconv.AppendInt(append(b, '-'), int64(k), 10)
}

// findClientID reads the run and number of the message in a frame or a page, and returns what follows; ok is false when
// there is none of ours.
func findClientID(b []byte) (run, k int, rest []byte, ok bool) {
	i := bytes.Index(b, keyClientID)
	if i < 0 {
		return 0, 0, nil, false
	}
	r, rest := number(b[i+len(keyClientID):])
	if len(rest) == 0 || rest[0] != '-' {
		return 0, 0, rest, false
	}
	n, rest := number(rest[1:])
	return int(r), int(n), rest, true
}
