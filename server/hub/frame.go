package hub

import (
	"encoding/binary"
	"encoding/json"
	"strconv"
)

// The WebSocket opcodes that the hub writes (RFC 6455, section 5.2). Frames from a server are not masked, so a frame
// is the same bytes for every connection.
const (
	opText  = 0x1
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xA
)

// The close codes of the hub. 4001 asks the client to come back with since; 4401 says that its session is over.
const (
	closeNormal     = 1000
	closeGoingAway  = 1001
	closeProtocol   = 1002
	closeUnsuported = 1003
	closeRestart    = 1012
	closeResync     = 4001
	closeRevoked    = 4401
	closeAuthLate   = 4408
	closeTooMany    = 4429
)

// frame wraps a payload.
func frame(opcode byte, payload []byte) []byte {
	b := make([]byte, 0, len(payload)+10)
	b = append(b, 0x80|opcode)
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, payload...)
}

func closeFrame(code int, reason string) []byte {
	return frame(opClose, append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...))
}

// eventFrame is an event on the native socket; an ephemeral has no seq.
func eventFrame(seq int64, kind string, value any) ([]byte, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return nativeFrame(seq, kind, data), nil
}

func nativeFrame(seq int64, kind string, data []byte) []byte {
	b := make([]byte, 0, len(data)+64)
	b = append(b, '{')
	if seq > 0 {
		b = strconv.AppendInt(append(b, `"seq":`...), seq, 10)
		b = append(b, ',')
	}
	b = strconv.AppendQuote(append(b, `"event":`...), kind)
	b = append(append(b, `,"data":`...), data...)
	return frame(opText, append(b, '}'))
}

// request is what a client sends.
type request struct {
	ID   json.RawMessage `json:"id"`
	Op   string          `json:"op"`
	Data json.RawMessage `json:"data"`
}

// scalar reports whether an id is a number or a short string; anything else is answered without one.
func scalar(id json.RawMessage) bool {
	return len(id) > 0 && len(id) <= 64 && id[0] != '{' && id[0] != '['
}

// answerFrame answers a request; data is nil on failure.
func answerFrame(id json.RawMessage, data any, failure any) ([]byte, error) {
	name, ok, value := "data", "true", data
	if failure != nil {
		name, ok, value = "error", "false", failure
	}
	body, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, len(body)+64)
	b = append(b, '{')
	if scalar(id) {
		b = append(append(append(b, `"id":`...), id...), ',')
	}
	b = append(append(append(b, `"ok":`...), ok...), `,"`...)
	b = append(append(append(b, name...), `":`...), body...)
	return frame(opText, append(b, '}')), nil
}
