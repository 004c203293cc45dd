// Package socketio reads and writes the frames of Engine.IO protocol 4 and the packets of Socket.IO protocol 5 inside
// them, as the stock client 4 speaks them over a WebSocket:
//
//	0{"sid":"…"}                    Engine.IO: open
//	2  3                            Engine.IO: ping from the server, pong from the client
//	40/chat,{"token":"…"}           Engine.IO message 4, Socket.IO connect 0, namespace /chat
//	42/chat,17["message:send",{…}]  event 2, to be acknowledged as 17
//	43/chat,17[{…}]                 the acknowledgement 3
//
// It is pure: bytes in, values out, nothing kept. It knows nothing of what is said. Whatever a client sends, decoding
// ends with a value or with an error and takes memory in proportion to the frame. Binary packets are recognised, so
// that they can be refused by name; no client of ours attaches any.
package socketio

import "errors"

// FrameType is the first byte of an Engine.IO frame.
type FrameType byte

// The frames of Engine.IO 4. Over a WebSocket, Upgrade and Noop have no use.
const (
	Open    FrameType = '0'
	Close   FrameType = '1'
	Ping    FrameType = '2'
	Pong    FrameType = '3'
	Message FrameType = '4'
	Upgrade FrameType = '5'
	Noop    FrameType = '6'
)

// ErrFrame is a frame of no known type.
var ErrFrame = errors.New("not an Engine.IO frame")

// DecodeFrame splits an Engine.IO text frame into its type and its payload, which is not copied.
func DecodeFrame(frame []byte) (FrameType, []byte, error) {
	if len(frame) == 0 || frame[0] < byte(Open) || frame[0] > byte(Noop) {
		return 0, nil, ErrFrame
	}
	return FrameType(frame[0]), frame[1:], nil
}

// Handshake is the payload of Open.
type Handshake struct {
	SID          string   `json:"sid"`
	Upgrades     []string `json:"upgrades"`
	PingInterval int64    `json:"pingInterval"` // milliseconds
	PingTimeout  int64    `json:"pingTimeout"`  // milliseconds
	MaxPayload   int64    `json:"maxPayload"`   // bytes
}

// Refusal is the body with which an Engine.IO server answers a request that it does not take.
type Refusal struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// The refusals of Engine.IO, by the names of its reference server.
var (
	UnknownTransport   = Refusal{0, "Transport unknown"}
	UnknownSID         = Refusal{1, "Session ID unknown"}
	BadHandshakeMethod = Refusal{2, "Bad handshake method"}
	BadRequest         = Refusal{3, "Bad request"}
	Forbidden          = Refusal{4, "Forbidden"}
	UnsupportedVersion = Refusal{5, "Unsupported protocol version"}
)
