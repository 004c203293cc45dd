package call

// huddleMax is how many people a huddle holds.
func (s *Service) huddleMax() int { return s.config.Get().HuddleMax }

// unplug takes a seat out of the SFU. The caller holds mu.
func (s *Service) unplug(*room, *seat) {}

// closeRoom closes the room of the SFU. The caller holds mu.
func (s *Service) closeRoom(*room) {}

// hush tells the SFU whether to pass on what a seat says. The caller holds mu.
func (s *Service) hush(*room, *seat) {}
