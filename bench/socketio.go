package main

import (
	"bytes"
	"fmt"
	"strings"
)

// The packets of Socket.IO that matter here: Engine.IO 4, namespace /chat.
const (
	chatConnect = "40/chat,"
	chatEvent   = "42/chat,"
	chatAnswer  = "43/chat,"
)

var (
	chatMessage = []byte(chatEvent + `["message:new"`)
	chatOK      = []byte(`[{"success":true`)
)

// packet handles one text frame of a Socket.IO connection.
func (k *client) packet(b []byte, at int64) {
	switch {
	case bytes.HasPrefix(b, chatMessage):
		k.heard(b[len(chatMessage):], len(b), at)
	case bytes.HasPrefix(b, []byte(chatAnswer)):
		id, rest := number(b[len(chatAnswer):])
		book := k.crowd.book.Load()
		switch {
		case book == nil:
		case bytes.HasPrefix(rest, chatOK):
			book.answeredOK(int(id-book.base), numberAfter(rest, keyN), at)
		default:
			book.answeredError(int(id-book.base), fmt.Sprintf("%.200s", rest))
		}
	case len(b) == 1 && b[0] == '2': // ping
		k.send(appendFrame(nil, opText, []byte("3")))
	case len(b) > 0 && b[0] == '0': // open
		k.send(appendFrame(nil, opText, []byte(chatConnect+`{"token":"`+k.token+`"}`)))
	case strings.HasPrefix(string(b[:min(len(b), len(chatConnect))]), chatConnect):
		k.up(at)
	}
}
