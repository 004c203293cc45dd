package sound

import "bytes"

// Format is a family of files that are read alike.
type Format string

// The formats of Inspect.
const (
	WAV  Format = "wav"
	MP3  Format = "mp3"
	AAC  Format = "aac" // bare, in ADTS frames
	AMR  Format = "amr" // narrow and wide band
	FLAC Format = "flac"
	Ogg  Format = "ogg"
	MP4  Format = "mp4"  // and M4A, MOV, 3GP: what ISO 14496-12 describes
	WebM Format = "webm" // and other Matroska
)

// sniffed is how much of a file Sniff looks at, in bytes.
const sniffed = 4 << 10

// Sniff tells the format from the first bytes of a file, at best 4 KiB, or "" when it is none of them.
func Sniff(head []byte) Format {
	begins := func(at int, s string) bool { return len(head) >= at && bytes.HasPrefix(head[at:], []byte(s)) }
	switch {
	case (begins(0, "RIFF") || begins(0, "RF64")) && begins(8, "WAVE"):
		return WAV
	case begins(0, "fLaC"):
		return FLAC
	case begins(0, "OggS\x00"):
		return Ogg
	case begins(0, "#!AMR\n"), begins(0, "#!AMR-WB\n"):
		return AMR
	case begins(0, "\x1a\x45\xdf\xa3"):
		return WebM
	case begins(4, "ftyp"), begins(4, "moov"), begins(4, "mdat"), begins(4, "styp"), begins(4, "moof"),
		(begins(4, "wide") || begins(4, "free") || begins(4, "skip")) && head[0] == 0:
		return MP4
	case begins(0, "ID3"):
		return sniffTagged(head)
	}
	return sniffFrames(head)
}

// sniffTagged looks behind an ID3 tag. One that is longer than what is at hand stands before an MP3, nearly always.
func sniffTagged(head []byte) Format {
	if len(head) < 10 {
		return ""
	}
	if n := id3Size(head); n < len(head) {
		if f := sniffFrames(head[n:]); f != "" {
			return f
		}
	}
	return MP3
}

// sniffFrames wants two frames in a row of MP3 or ADTS, when there is room for them.
func sniffFrames(head []byte) Format {
	if h, ok := parseMP3(head); ok {
		if _, ok := parseMP3(head[min(h.size, len(head)):]); ok || h.size+4 > len(head) {
			return MP3
		}
	}
	if h, ok := parseADTS(head); ok {
		if _, ok := parseADTS(head[min(h.size, len(head)):]); ok || h.size+7 > len(head) {
			return AAC
		}
	}
	return ""
}
