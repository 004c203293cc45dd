package hub

// Strangers counts the connections that wait to be attached, and those of which nobody knows whose they are.
func (h *Hub) Strangers() (waiting, pending int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.waiting), int(h.pending.Load())
}
