package hub

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/socketio"
)

// credentials are what a connect packet may say. What has another type counts as not said: clients put many things
// there.
type credentials struct {
	token   string
	ticket  string
	recover bool   // the client wants offsets, and to be told what it missed when it comes back
	pid     string // what it was answered the last time
	offset  string // of the last event it heard; empty when it has heard none
}

func readCredentials(data json.RawMessage) (said credentials) {
	var fields map[string]any
	_ = json.Unmarshal(data, &fields) // an object, or nothing
	text := func(name string) string { s, _ := fields[name].(string); return s }
	said = credentials{token: strings.TrimSpace(strings.TrimPrefix(text("token"), "Bearer ")), ticket: text("ticket"), pid: text("pid"), offset: text("offset")}
	asked, _ := fields["recover"].(bool)
	said.recover = asked || said.pid != ""
	return said
}

// connect connects a namespace, or says why not. A refusal leaves the connection open: shipped clients would come back
// at once, for ever, if it were closed.
func (c *conn) connect(ctx context.Context, p socketio.Packet) {
	h := c.hub
	said := readCredentials(p.Data)
	form, known := named(p.Namespace, said.recover)
	if !known { // which the phone app may try next to one that there is, again and again
		c.refuseSpace(p.Namespace, map[string]string{"message": "Invalid namespace"}, !c.io.served)
		return
	}
	by, err := c.identify(ctx, said)
	if err != nil {
		c.refuseConnect(p.Namespace, err)
		return
	}
	c.by = by
	c.ws.SetReadLimit(engineFrameMax)
	s := &stream{conn: c, form: form}
	since, again, err := c.recoverable(ctx, said)
	if err != nil {
		h.opts.Log.Error("recover socket", "error", err)
		c.finish(closeRestart, "try again")
		return
	}
	sid := newSID()
	at, err := h.attach(ctx, s, again, func(seq int64) []byte {
		answer := map[string]string{"sid": sid}
		if again {
			answer["pid"] = said.pid
		} else if said.recover {
			answer["pid"] = c.by.SessionID + "." + strconv.FormatInt(seq, 10)
		}
		data, _ := json.Marshal(answer)
		return frame(opText, socketio.Packet{Type: socketio.Connect, Namespace: p.Namespace, Data: data}.Frame())
	})
	if api.HasCode(err, "TOO_MANY_SOCKETS") {
		c.refuseConnect(p.Namespace, err)
		return
	}
	if err != nil {
		c.refuse(err)
		return
	}
	if len(c.io.spaces) == 0 {
		h.pending.Add(-1)
	}
	c.io.spaces[p.Namespace], c.io.served, c.io.bearer = s, true, ""
	if again {
		s.catchUp(ctx, since, at)
	}
}

// identify finds out who connects: by the token, by the ticket, by the header of the upgrade, or as the one whose
// connection it is already. All namespaces of a connection belong to one session.
func (c *conn) identify(ctx context.Context, said credentials) (by api.Caller, err error) {
	by = c.by
	by.UserID, by.SessionID, by.Role = "", "", api.RolePublic
	switch {
	case said.token != "":
		err = c.hub.opts.Handshake(ctx, said.token, &by)
	case said.ticket != "":
		err = c.hub.redeem(ctx, said.ticket, &by)
	case c.by.SignedIn():
		by = c.by
	case c.io.bearer != "":
		err = c.hub.opts.Handshake(ctx, c.io.bearer, &by)
	default:
		err = api.E("UNAUTHORIZED")
	}
	if err == nil && c.by.SignedIn() && (by.UserID != c.by.UserID || by.SessionID != c.by.SessionID) {
		err = api.E("OTHER_SESSION")
	}
	return by, err
}

// refuseConnect answers a connect with an error of ours. When the fault is here the connection is closed instead: a
// client comes back after a while from that, and not from a refusal.
func (c *conn) refuseConnect(namespace string, err error) {
	e := c.hub.table.Render(c.by.Locale, "socket connect", err)
	if e.Status >= http.StatusInternalServerError {
		c.finish(closeRestart, "try again")
		return
	}
	if e.Code != "TOO_MANY_SOCKETS" {
		c.strike()
	}
	c.refuseSpace(namespace, struct {
		Message string `json:"message"`
		Data    any    `json:"data"`
	}{e.Message, map[string]any{"code": e.Code, "statusCode": e.Status}}, true)
}

// refuseSpace answers a connect with an error. Too many that count end the connection.
func (c *conn) refuseSpace(namespace string, why any, counts bool) {
	data, _ := json.Marshal(why)
	c.send(frame(opText, socketio.Packet{Type: socketio.ConnectError, Namespace: namespace, Data: data}.Frame()))
	if counts {
		if c.io.refused++; c.io.refused >= engineRefusals {
			c.finish(closeProtocol, "refused too often")
		}
	}
}

// recoverable says whether a client that was here before can be told what it missed, and since when. Its pid is
// "session.seq": the session, which must be the same, and where the log stood when it came, which counts until it has
// heard an event.
func (c *conn) recoverable(ctx context.Context, said credentials) (since int64, ok bool, err error) {
	session, begun, found := strings.Cut(said.pid, ".")
	if !found || session != c.by.SessionID || said.pid != session+"."+strconv.FormatInt(parseSince(begun), 10) {
		return 0, false, nil
	}
	since = parseSince(begun)
	if said.offset != "" {
		since = parseSince(said.offset)
	}
	c.hub.mu.Lock()
	at := c.hub.seq
	c.hub.mu.Unlock()
	ok, err = c.hub.reaches(ctx, since, at)
	return since, ok, err
}

// newSID names a connection or a namespace of it. Nothing is reached by the name.
func newSID() string {
	b := make([]byte, 15)
	_, _ = rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}
