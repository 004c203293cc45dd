package hub

import (
	"slices"

	"github.com/quckchat/quckchat/server/api"
)

// spoken is an event that clients send: the verb behind it, and how its success is acknowledged.
type spoken struct {
	verb string
	ack  func(value any) any
}

// spokenEvents are the events of contract 4.3 to 4.5, with their acknowledgements. Every other verb of the table may be sent
// under its own name and is acknowledged with its value as data.
var spokenEvents = map[string]spoken{
	"message:send":            {"message:send", withMessage},
	"message:edit":            {"message:edit", withMessage},
	"message:delete":          {"message:delete", bare},
	"message:reaction:add":    {"message:reaction:add", bare},
	"message:reaction:remove": {"message:reaction:remove", bare},
	"message:read":            {"message:read", bare},
	"typing:start":            {"typing:start", bare},
	"typing:stop":             {"typing:stop", bare},
	"conversation:join":       {"conversation:join", bare},
	"conversation:leave":      {"conversation:leave", bare},

	"call:initiate":        {"call:initiate", itself},
	"call:answer":          {"call:answer", itself},
	"call:reject":          {"call:reject", itself},
	"call:end":             {"call:end", itself},
	"call:toggle-audio":    {"call:toggle-audio", itself},
	"call:toggle-video":    {"call:toggle-video", itself},
	"webrtc:offer":         {"webrtc:offer", itself},
	"webrtc:answer":        {"webrtc:answer", itself},
	"webrtc:ice-candidate": {"webrtc:ice-candidate", itself},

	"join-room":        {"huddle:enter", bare},
	"leave-room":       {"huddle:exit", bare},
	"webrtc-offer":     {"huddle:mesh-offer", bare},
	"webrtc-answer":    {"huddle:mesh-answer", bare},
	"ice-candidate":    {"huddle:mesh-candidate", bare},
	"toggle-audio":     {"huddle:toggle-audio", bare},
	"toggle-video":     {"huddle:toggle-video", bare},
	"get-participants": {"huddle:participants", bare},
}

// meshEvents are the names that shipped clients know the events of huddles by (contract 4.5).
var meshEvents = map[string]string{
	"huddle:entered":             "room-joined",
	"huddle:exited":              "room-left",
	"huddle:participant:joined":  "participant-joined",
	"huddle:participant:left":    "participant-left",
	"huddle:mesh-offer":          "webrtc-offer",
	"huddle:mesh-answer":         "webrtc-answer",
	"huddle:mesh-candidate":      "ice-candidate",
	"huddle:audio-toggled":       "participant-audio-toggled",
	"huddle:video-toggled":       "participant-video-toggled",
	"huddle:participants-listed": "participants-list",
	"huddle:invitation":          "huddle-invitation",
}

// speak finds what an event asks for.
func speak(name string) spoken {
	if s, ok := spokenEvents[name]; ok {
		return s
	}
	return spoken{name, withData}
}

// itself is for values that say success themselves.
func itself(value any) any { return value }

func bare(any) any {
	return struct {
		Success bool `json:"success"`
	}{true}
}

func withMessage(value any) any {
	return struct {
		Success bool `json:"success"`
		Message any  `json:"message"`
	}{true, value}
}

func withData(value any) any {
	return struct {
		Success bool `json:"success"`
		Data    any  `json:"data"`
	}{true, value}
}

// failedAck is the acknowledgement of what failed: the sentence is the error, as shipped clients read it.
type failedAck struct {
	Success bool             `json:"success"`
	Error   string           `json:"error"`
	Code    string           `json:"code"`
	Errors  []api.FieldError `json:"errors,omitempty"`
}

// chatNames tells all events, nearly all under their names; clients ignore those they do not know. The phone app knows only
// one that replaces a message which it has.
func chatNames(kind string) (string, bool) {
	if signalled(kind) && !slices.Contains(callNews, kind) {
		return "", false // which has namespaces of its own
	}
	if kind == "message:media" {
		return "message:edited", true
	}
	return kind, true
}

// webEvents are the names of events that the web client calls otherwise (contract 4.6).
var webEvents = map[string]string{
	"message:edited":       "message:update",
	"message:media":        "message:update",
	"message:deleted":      "message:delete",
	"message:hidden":       "message:delete", // to one's own devices alone
	"message:read":         "read:receipt",
	"conversation:updated": "conversation:update",

	"conversation:participant:added": "conversation:new", // which it passes over when it has the conversation
}

func webNames(kind string) (string, bool) {
	if signalled(kind) {
		return "", false // it has no calls
	}
	if name, ok := webEvents[kind]; ok {
		return name, true
	}
	return kind, true
}
