package sfu

// vp8 is what the payload descriptor of RFC 7741 says of a packet, and the start of the frame behind it.
type vp8 struct {
	hasPid bool
	pidAt  int // of the picture id; 15 bits when its first one is set
	pid    uint16
	tl0At  int // 0 means none
	tl0    uint8
	key    bool   // the first packet of a key frame
	width  uint16 // pixels, of a key frame
}

// parseVP8 reads a descriptor; of one that is cut it reads nothing.
func parseVP8(b []byte) (v vp8) {
	if len(b) < 1 {
		return vp8{}
	}
	at := 1
	if b[0]&0x80 != 0 {
		if len(b) < 2 {
			return vp8{}
		}
		x := b[1]
		at = 2
		if x&0x80 != 0 {
			if len(b) < at+2 {
				return vp8{}
			}
			v.hasPid, v.pidAt, v.pid = true, at, uint16(b[at])
			if b[at]&0x80 != 0 {
				v.pid = uint16(b[at]&0x7F)<<8 | uint16(b[at+1])
				at++
			}
			at++
		}
		if x&0x40 != 0 {
			if len(b) < at+1 {
				return vp8{}
			}
			v.tl0At, v.tl0 = at, b[at]
			at++
		}
		if x&0x30 != 0 {
			at++
		}
	}
	if len(b) <= at {
		return v
	}
	v.key = b[0]&0x17 == 0x10 && b[at]&1 == 0
	if v.key && len(b) >= at+10 {
		v.width = uint16(b[at+6]) | uint16(b[at+7]&0x3F)<<8
	}
	return v
}

// put writes other picture ids into the payload that was parsed. Putting the old ones again undoes it.
func (v *vp8) put(b []byte, pid uint16, tl0 uint8) {
	if v.hasPid {
		if b[v.pidAt]&0x80 != 0 {
			b[v.pidAt], b[v.pidAt+1] = 0x80|byte(pid>>8), byte(pid)
		} else {
			b[v.pidAt] = byte(pid) & 0x7F
		}
	}
	if v.tl0At > 0 {
		b[v.tl0At] = tl0
	}
}

// keyFrame tells whether a payload begins a frame that can be decoded without others. Where the codec is not known, every
// packet does.
func keyFrame(codec string, b []byte) bool {
	if len(b) < 2 {
		return false
	}
	switch codec {
	case mimeH264:
		return h264Key(b)
	case mimeVP9: // RFC 9628: not predicted, the beginning of a frame, the lowest spatial layer
		if b[0]&0x48 != 0x08 {
			return false
		}
		if b[0]&0x20 == 0 {
			return true
		}
		at := 1
		if b[0]&0x80 != 0 {
			at += 1 + int(b[1]>>7)
		}
		return len(b) > at && b[at]>>1&7 == 0
	case mimeAV1: // a new coded video sequence
		return b[0]&0x08 != 0
	}
	return true
}

// h264Key looks for a parameter set or an IDR slice, alone, in an aggregation, or at the start of fragments (RFC 6184).
func h264Key(b []byte) bool {
	starts := func(t byte) bool { return t == 5 || t == 7 }
	switch t := b[0] & 0x1F; t {
	case 24: // STAP-A
		for at := 1; at+2 < len(b); {
			if starts(b[at+2] & 0x1F) {
				return true
			}
			at += 2 + int(b[at])<<8 + int(b[at+1])
		}
		return false
	case 28: // FU-A
		return b[1]&0x80 != 0 && starts(b[1]&0x1F)
	default:
		return starts(t)
	}
}
