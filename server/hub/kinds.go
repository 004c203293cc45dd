package hub

import (
	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
)

// seqValue is the payload of the events that speak of the log alone.
type seqValue struct {
	Seq int64 `json:"seq"`
}

// presenceValue is the payload of user:online and user:offline.
type presenceValue struct {
	UserID   string `json:"userId"`
	Status   string `json:"status,omitempty"` // of one who is online: online, away, busy
	LastSeen string `json:"lastSeen,omitempty"`
}

// View is what the web client reads: the person, as far as the hub knows them (contract 4.6).
func (v presenceValue) View(api.Dialect) any {
	out := struct {
		MongoID    string `json:"_id"`
		ID         string `json:"id"`
		UserID     string `json:"userId"`
		Email      string `json:"email"`
		Status     string `json:"status"`
		LastSeenAt string `json:"lastSeenAt,omitempty"`
	}{v.UserID, v.UserID, v.UserID, "", v.Status, v.LastSeen}
	switch out.Status { // it knows online, away and offline
	case "":
		out.Status = "offline"
	case "busy":
		out.Status = "away"
	}
	return out
}

// Events are what the hub itself says on a socket; nothing of it is stored.
func (h *Hub) Events() []event.Kind {
	return []event.Kind{
		{Name: "hello", Doc: "The first frame: who you are, where the log stood when you were attached, milliseconds between heartbeats.", Value: hello{}},
		{Name: "heartbeat", Doc: "Everything up to this seq has been sent to you.", Value: seqValue{}},
		{Name: "resumed", Doc: "You have everything you missed up to this seq.", Value: seqValue{}},
		{Name: "resync", Doc: "The log does not reach back to where you were: fetch your lists again.", Value: seqValue{}},
		{Name: "user:online", Doc: "Somebody you share a conversation with has come, or changed their status: online, away or busy. Where more than a hundred people are online, ask `presence:list` instead.", Value: presenceValue{}},
		{Name: "user:offline", Doc: "They have gone, or show you no longer that they are here.", Value: presenceValue{}},
	}
}
