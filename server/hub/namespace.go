package hub

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/socketio"
)

// namespace is a part of the Socket.IO door, with the dialect of the clients that use it.
type namespace struct {
	name    string
	dialect api.Dialect
	tells   func(kind string) (name string, told bool) // what an event is called there, and whether it is told there at all
	wrapped bool                                       // events are {type, payload, timestamp}
}

// namespaces are all there are. A new one is an entry here.
var namespaces = [...]namespace{
	{name: "/chat", dialect: api.DialectMobile, tells: chatNames},
	{name: "/webrtc", dialect: api.DialectMobile, tells: callsAlone},
	{name: "/huddle", dialect: api.DialectMobile, tells: huddlesAlone},
	{name: socketio.Root, dialect: api.DialectWeb, tells: webNames, wrapped: true},
}

// callNews are what everybody hears of calls and huddles.
var callNews = []string{"call:missed", "huddle:invitation", "huddle:started", "huddle:over"}

// signalled reports whether a kind is for the devices in a call.
func signalled(kind string) bool {
	return strings.HasPrefix(kind, "call:") || strings.HasPrefix(kind, "webrtc:") || strings.HasPrefix(kind, "huddle:")
}

func callsAlone(kind string) (string, bool) {
	return kind, strings.HasPrefix(kind, "call:") || strings.HasPrefix(kind, "webrtc:")
}

func huddlesAlone(kind string) (string, bool) {
	if name, ok := meshEvents[kind]; ok {
		return name, true
	}
	return kind, strings.HasPrefix(kind, "huddle:")
}

// named returns the form of the namespace with this name; ok is false when there is none.
func named(name string, offsets bool) (f form, ok bool) {
	for i := range namespaces {
		if namespaces[i].name == name {
			f = form(1 + 2*i)
			if offsets {
				f++
			}
			return f, true
		}
	}
	return formNative, false
}

// namespace is that of a form that is not native.
func (f form) namespace() *namespace { return &namespaces[(f-1)/2] }

// offset is the last argument of an event in this form: the seq for clients that recover, and nothing for the others
// and for what is not in the log.
func (f form) offset(seq int64) string {
	if f%2 == 1 || seq == 0 {
		return ""
	}
	return strconv.FormatInt(seq, 10)
}

// eventFrame writes an event; at is in unix milliseconds, 0 for one that is not in the log.
func (n *namespace) eventFrame(name string, data []byte, at int64, offset string) []byte {
	if n.wrapped {
		if at == 0 {
			at = time.Now().UnixMilli()
		}
		b := make([]byte, 0, len(data)+len(name)+80)
		b = strconv.AppendQuote(append(b, `{"type":`...), name) // our own names: nothing in them needs escaping
		b = append(append(b, `,"payload":`...), data...)
		b = strconv.AppendQuote(append(b, `,"timestamp":`...), api.Millis(at))
		data = append(b, '}')
	}
	args := []json.RawMessage{data}
	if offset != "" {
		args = append(args, json.RawMessage(strconv.Quote(offset)))
	}
	return frame(opText, socketio.Packet{Type: socketio.Event, Namespace: n.name, Event: name, Args: args}.Frame())
}
