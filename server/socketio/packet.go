package socketio

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
)

// PacketType is the first byte of a Socket.IO packet.
type PacketType byte

// The packets of Socket.IO 5.
const (
	Connect      PacketType = '0'
	Disconnect   PacketType = '1'
	Event        PacketType = '2'
	Ack          PacketType = '3'
	ConnectError PacketType = '4'
	BinaryEvent  PacketType = '5'
	BinaryAck    PacketType = '6'
)

// Root is the namespace that packets leave out.
const Root = "/"

// The limits of a packet. A number of 15 digits is exact in JavaScript.
const (
	NamespaceMax   = 64 // bytes
	ackDigitsMax   = 15
	eventMax       = 128 // bytes of an event's name
	argumentsMax   = 16
	attachmentsMax = 10 // as the stock client
)

// Packet is a Socket.IO packet.
type Packet struct {
	Type      PacketType
	Namespace string // begins with a slash
	ID        string // the digits of an acknowledgement; empty when none is asked for

	Event       string            // the name, of an event
	Args        []json.RawMessage // of an event behind its name, of an acknowledgement
	Data        json.RawMessage   // of a connect or a connect error; nil when there is none
	Attachments int               // announced by a binary packet
}

// Why a packet is refused.
var (
	ErrType        = errors.New("not a Socket.IO packet")
	ErrAttachments = errors.New("malformed number of attachments")
	ErrNamespace   = errors.New("malformed namespace")
	ErrID          = errors.New("malformed acknowledgement id")
	ErrPayload     = errors.New("malformed payload")
)

// reserved are the names of events that the client's library gives itself.
var reserved = []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}

// Decode reads the payload of an Engine.IO message. The values of the packet refer to b. Of a binary packet it reads
// the head alone.
func Decode(b []byte) (p Packet, err error) {
	if len(b) == 0 || b[0] < byte(Connect) || b[0] > byte(BinaryAck) {
		return p, ErrType
	}
	p.Type, b = PacketType(b[0]), b[1:]
	binary := p.Type == BinaryEvent || p.Type == BinaryAck
	if binary {
		head, _, found := bytes.Cut(b[:min(len(b), 8)], []byte("-"))
		n, err := strconv.Atoi(string(head))
		if !found || err != nil || n < 1 || n > attachmentsMax {
			return p, ErrAttachments
		}
		p.Attachments, b = n, b[len(head)+1:]
	}
	if p.Namespace, b, err = namespace(b); err != nil {
		return p, err
	}
	digits := 0
	for digits < len(b) && b[digits] >= '0' && b[digits] <= '9' {
		digits++
	}
	acknowledges := p.Type == Ack || p.Type == BinaryAck
	if digits > ackDigitsMax || acknowledges && digits == 0 || digits > 0 && (p.Type == Connect || p.Type == Disconnect || p.Type == ConnectError) {
		return p, ErrID
	}
	p.ID, b = string(b[:digits]), b[digits:]
	if binary {
		return p, nil
	}
	return p, p.payload(b)
}

// namespace cuts "/name," off; without it the namespace is Root, and at the end of a packet the comma may be missing.
func namespace(b []byte) (name string, rest []byte, err error) {
	if len(b) == 0 || b[0] != '/' {
		return Root, b, nil
	}
	end := bytes.IndexByte(b[:min(len(b), NamespaceMax+1)], ',')
	rest = b[end+1:]
	if end < 0 {
		end, rest = len(b), nil
	}
	if end > NamespaceMax {
		return "", nil, ErrNamespace
	}
	for _, c := range b[:end] {
		if c <= ' ' || c > '~' {
			return "", nil, ErrNamespace
		}
	}
	return string(b[:end]), rest, nil
}

func (p *Packet) payload(b []byte) (err error) {
	switch p.Type {
	case Connect, ConnectError:
		if len(b) > 0 && (b[0] != '{' && (p.Type == Connect || b[0] != '"') || !json.Valid(b)) || len(b) == 0 && p.Type == ConnectError {
			return ErrPayload
		}
		if len(b) > 0 {
			p.Data = b
		}
	case Disconnect:
		if len(b) > 0 {
			return ErrPayload
		}
	case Event:
		if p.Args, err = elements(b, argumentsMax+1); err != nil {
			return err
		}
		if len(p.Args) == 0 || p.Args[0][0] != '"' || len(p.Args[0]) > 6*eventMax+2 { // an escaped byte takes six
			return ErrPayload
		}
		if json.Unmarshal(p.Args[0], &p.Event) != nil || len(p.Event) > eventMax || slices.Contains(reserved, p.Event) {
			return ErrPayload
		}
		p.Args = p.Args[1:]
	case Ack:
		p.Args, err = elements(b, argumentsMax)
	}
	return err
}

// elements splits a JSON array of at most so many elements, without copying them.
func elements(b []byte, most int) (list []json.RawMessage, err error) {
	if len(b) < 2 || b[0] != '[' || !json.Valid(b) {
		return nil, ErrPayload
	}
	b = bytes.TrimRight(b, " \t\r\n")
	depth, start := 0, 1
	for i := 0; i < len(b); i++ { // valid, so that brackets match and strings end
		switch b[i] {
		case '"':
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			depth++
		case ']', '}', ',':
			if b[i] != ',' {
				depth--
			}
			if depth == 1 && b[i] == ',' || depth == 0 {
				if item := bytes.Trim(b[start:i], " \t\r\n"); len(item) > 0 {
					list = append(list, item)
				}
				start = i + 1
				if len(list) > most {
					return nil, ErrPayload
				}
			}
		}
	}
	return list, nil
}

// Append writes the packet as the payload of an Engine.IO message behind b. Args and Data must be JSON.
func (p Packet) Append(b []byte) []byte {
	b = append(b, byte(p.Type))
	if p.Type == BinaryEvent || p.Type == BinaryAck {
		b = append(strconv.AppendInt(b, int64(p.Attachments), 10), '-')
	}
	if p.Namespace != Root {
		b = append(append(b, p.Namespace...), ',')
	}
	b = append(b, p.ID...)
	switch p.Type {
	case Connect, ConnectError:
		b = append(b, p.Data...)
	case Event:
		b = appendArgs(appendName(append(b, '['), p.Event), true, p.Args)
	case Ack:
		b = appendArgs(append(b, '['), false, p.Args)
	}
	return b
}

func appendArgs(b []byte, behind bool, args []json.RawMessage) []byte {
	for i, arg := range args {
		if behind || i > 0 {
			b = append(b, ',')
		}
		b = append(b, arg...)
	}
	return append(b, ']')
}

func appendName(b []byte, name string) []byte {
	if !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
		return append(append(append(b, '"'), name...), '"')
	}
	quoted, _ := json.Marshal(name) // a string can always be written
	return append(b, quoted...)
}

// Frame is the packet as an Engine.IO message.
func (p Packet) Frame() []byte {
	size := len(p.Namespace) + len(p.ID) + len(p.Event) + len(p.Data) + 16
	for _, arg := range p.Args {
		size += len(arg) + 1
	}
	return p.Append(append(make([]byte, 0, size), byte(Message)))
}
