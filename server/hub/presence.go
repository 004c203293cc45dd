package hub

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"sort"
	"time"

	"github.com/quckchat/quckchat/server/api"
)

// ticketLife is how long a ticket may be redeemed, once.
const ticketLife = 30 * time.Second

// Routes are the operations of the hub itself.
func (h *Hub) Routes() []api.Row {
	return []api.Row{
		api.Op("POST /ws/ticket", "", api.RoleUser, api.TierTicket, h.Ticket, api.Doc("A ticket to open a socket with, for clients that cannot set a header: ?ticket=, once, within 30 s.")),
		api.Op("GET /presence", "presence:list", api.RoleUser, api.TierRead, h.Presence, api.Doc("Who is online of the people one shares a conversation with.")),
	}
}

// Ticket is what POST /ws/ticket answers.
type Ticket struct {
	Ticket    string `json:"ticket"`
	ExpiresIn int    `json:"expiresIn"` // seconds
}

// Ticket makes a ticket for the caller's session. Codes: UNAUTHORIZED.
func (h *Hub) Ticket(_ context.Context, by api.Caller, _ *struct{}) (Ticket, error) {
	if !by.SignedIn() {
		return Ticket{}, api.E("UNAUTHORIZED") // the admin socket's powers cannot be carried elsewhere
	}
	secret := make([]byte, 24)
	_, _ = rand.Read(secret)
	t := base64.RawURLEncoding.EncodeToString(secret)
	value, err := json.Marshal(by)
	if err != nil {
		return Ticket{}, err
	}
	return Ticket{t, int(ticketLife / time.Second)}, h.opts.Cache.Set("ticket:"+t, value, ticketLife)
}

// redeem turns a ticket into its caller. Code: TICKET_INVALID.
func (h *Hub) redeem(_ context.Context, ticket string, by *api.Caller) error {
	value, err := h.opts.Cache.Take("ticket:" + ticket)
	if err != nil || value == nil {
		return api.E("TICKET_INVALID")
	}
	var who api.Caller
	if err := json.Unmarshal(value, &who); err != nil {
		return api.E("TICKET_INVALID")
	}
	who.IP, who.UserAgent, who.Socket, who.Host = by.IP, by.UserAgent, by.Socket, by.Host
	*by = who
	return nil
}

// Online is who is online, and what those chose to be shown as who are not simply online.
type Online struct {
	Online   []string          `json:"online"`
	Statuses map[string]string `json:"statuses"` // away, busy
}

// presenceListMax bounds the answer of Presence.
const presenceListMax = 5000

// Presence lists who is online of those the caller shares a conversation with, as settings and blocks allow. It knows the caller's conversations
// while they have a socket open; without one the list is empty.
func (h *Hub) Presence(_ context.Context, by api.Caller, _ *struct{}) (Online, error) {
	out := Online{Online: []string{}, Statuses: map[string]string{}}
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.people[by.UserID]
	if p == nil {
		return out, nil
	}
	seen := map[string]bool{p.id: true}
	for _, r := range p.rooms {
		for id, other := range r.people {
			if seen[id] || len(out.Online) >= presenceListMax {
				continue
			}
			seen[id] = true
			if !sees(p, other) {
				continue
			}
			out.Online = append(out.Online, id)
			if status := other.privacy.Status; status != "" && status != "online" {
				out.Statuses[id] = status
			}
		}
	}
	sort.Strings(out.Online)
	return out, nil
}

// Online reports whether somebody has a socket open, or had one a moment ago.
func (h *Hub) Online(userID string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.people[userID] != nil
}

// announce tells those who may see the presence of p. The caller holds mu.
func (h *Hub) announce(p *person, kind string, value presenceValue) {
	t := teller{}
	h.around(p, func(other *person) {
		if sees(other, p) {
			t.tell(other, kind, value)
		}
	})
	t.flush()
}

// left ends the grace of somebody who has not come back.
func (h *Hub) left(p *person) {
	now := time.Now()
	h.mu.Lock()
	if len(p.streams) > 0 || h.people[p.id] != p || h.closing {
		h.mu.Unlock()
		return
	}
	h.announce(p, "user:offline", presenceValue{UserID: p.id, LastSeen: api.Time(now)})
	for id := range p.rooms {
		h.exit(p, id)
	}
	delete(h.people, p.id)
	h.mu.Unlock()
	h.opts.Offline(p.id, now)
}
