package sound

// flac reads STREAMINFO, which comes first (RFC 9639, section 8.2).
func (s *scan) flac() error {
	b, err := s.src.window().take(0, 4+4+34)
	if err != nil {
		return err
	}
	if b[4]&127 != 0 {
		return malformed("no stream info")
	}
	b = b[8:]
	rate := uint64(b[10])<<12 | uint64(b[11])<<4 | uint64(b[12])>>4
	total := uint64(b[13]&15)<<32 | uint64(b[14])<<24 | uint64(b[15])<<16 | uint64(b[16])<<8 | uint64(b[17])
	if rate == 0 {
		return malformed("no sample rate")
	}
	s.info.Codec, s.info.Channels, s.info.SampleRate = "flac", int(b[12]>>1&7)+1, int(rate)
	s.last(total, rate)
	return nil
}
