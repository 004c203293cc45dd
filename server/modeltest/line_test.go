package modeltest

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/quckchat/quckchat/server/servertest"
)

// line is the socket of a device, whatever it speaks.
type line interface {
	Arrived() []servertest.Frame
	Taken() []servertest.Frame
	Ask(op string, data any) servertest.Frame
	Close()
	Code() int
}

// tongue is how a device speaks to the server.
type tongue int

const (
	native    tongue = iota // with since
	socketIO                // loads everything anew when it comes back, as shipped clients do
	recovered               // Socket.IO, and is told what it missed
)

func (t tongue) String() string { return []string{"", " (io)", " (io, recovers)"}[t] }

// ioLine is the namespace /chat of a Socket.IO connection, told as the native socket is.
type ioLine struct {
	space *servertest.Space
	fresh bool // it begins with hello, as the native one does; a recovered one goes on where it was
}

// dialIO connects. It comes back with the pid and the offset of the last time, if the device recovers.
func dialIO(u *servertest.User, speaks tongue, pid string, seq int64) *ioLine {
	io, status := u.Server.DialIO("?EIO=4&transport=websocket", nil)
	if io == nil {
		panic(fmt.Sprint("Socket.IO is refused with ", status))
	}
	said := map[string]any{}
	if speaks == recovered {
		said["recover"] = true
	}
	if pid != "" {
		said["pid"] = pid
		if seq > 0 {
			said["offset"] = strconv.FormatInt(seq, 10)
		}
	}
	l := &ioLine{space: io.Connect("/chat", u, said)}
	l.fresh = pid == "" || l.space.PID != pid
	return l
}

func (l *ioLine) frames(list []servertest.Told) (frames []servertest.Frame) {
	if l.fresh {
		l.fresh = false
		frames = append(frames, servertest.Frame{Event: "hello", Data: json.RawMessage(`{"seq":0}`)})
	}
	for _, e := range list {
		seq, _ := strconv.ParseInt(e.Offset, 10, 64)
		frames = append(frames, servertest.Frame{Seq: seq, Event: e.Event, Data: e.Data, Raw: []byte(e.Raw)})
	}
	return frames
}

func (l *ioLine) Arrived() []servertest.Frame { return l.frames(l.space.Arrived()) }
func (l *ioLine) Taken() []servertest.Frame   { return l.frames(l.space.Taken()) }
func (l *ioLine) Close()                      { l.space.Close() }
func (l *ioLine) Code() int                   { return l.space.Code() }

// Ask asks; what is acknowledged without a value has no data.
func (l *ioLine) Ask(op string, data any) servertest.Frame {
	a := l.space.Ask(op, data)
	f := servertest.Frame{OK: a.Success, Data: a.Data, Raw: []byte(a.Raw)}
	if a.Message != nil {
		f.Data = a.Message
	}
	if !a.Success {
		f.Error = &struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		}{a.Code, a.Error}
	}
	return f
}
