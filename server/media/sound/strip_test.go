package sound_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/server/media/sound"
)

const place = "+48.1173+011.5167/"

// strip checks what must hold for every file, and returns the result.
func strip(t *testing.T, name string, b []byte) []byte {
	t.Helper()
	format := sound.Sniff(b)
	located, err := sound.Located(ctx, bytes.NewReader(b), format)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var out bytes.Buffer
	if err := sound.Strip(ctx, &out, bytes.NewReader(b), format); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if out.Len() != len(b) || located == bytes.Equal(out.Bytes(), b) {
		t.Errorf("%s: %d bytes of %d, located %v", name, out.Len(), len(b), located)
	}
	if again, err := sound.Located(ctx, bytes.NewReader(out.Bytes()), format); again || err != nil {
		t.Errorf("%s: still located: %v, %v", name, again, err)
	}
	return out.Bytes()
}

// tool runs ffmpeg or ffprobe on bytes.
func tool(t *testing.T, name string, b []byte, args ...string) string {
	t.Helper()
	needs(t, name)
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range args {
		if args[i] == "FILE" {
			args[i] = path
		}
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

func tags(t *testing.T, b []byte) string {
	return tool(t, "ffprobe", b, "-v", "error", "-show_entries", "format_tags:stream_tags", "-of", "compact", "FILE")
}

func content(t *testing.T, b []byte) string {
	return tool(t, "ffmpeg", b, "-v", "error", "-i", "FILE", "-map", "0:a", "-map", "0:v?", "-f", "streamhash", "-")
}

func TestThePlaceIsGoneAndAllElseStays(t *testing.T) {
	film := []string{"-f", "lavfi", "-i", "testsrc=size=64x64:rate=5:duration=1", "-f", "lavfi", "-i", "sine=duration=1", "-metadata", "title=Home"}
	for name, args := range map[string][]string{
		"place.mp4":    {"-metadata", "location=" + place},
		"place.3gp":    {"-c:v", "h263", "-s", "176x144", "-ar", "8000", "-c:a", "aac", "-metadata", "location=" + place},
		"place.mov":    {"-metadata", "location=" + place, "-movflags", "faststart"},
		"keys.mov":     {"-movflags", "use_metadata_tags", "-metadata", placeKey + "=" + place, "-metadata", "make=Camera"},
		"parts.mp4":    {"-movflags", "empty_moov+frag_keyframe", "-metadata", "location=" + place},
		"place.webm":   {"-c:v", "libvpx", "-c:a", "libopus", "-metadata", "LOCATION=" + place, "-metadata:s:v", "RECORDING_LOCATION=" + place},
		"place.mkv":    {"-c:v", "libvpx", "-c:a", "libvorbis", "-metadata", placeKey + "=" + place + strings.Repeat(" ", 300)},
		"place.live":   {"-c:v", "libvpx", "-c:a", "libopus", "-f", "webm", "-live", "1", "-metadata", "LOCATION=" + place},
		"place.mp3":    {"-map", "1", "-metadata", "location=" + place},
		"private.mp3":  {"-map", "1", "-metadata", "id3v2_priv.app=" + place, "-id3v2_version", "3"},
		"location.aac": {"-map", "1", "-c:a", "aac", "-f", "adts", "-write_id3v2", "1", "-metadata", "GPS=" + place},
	} {
		t.Run(name, func(t *testing.T) {
			b := read(t, makeFile(t, name, append(film[:len(film):len(film)], args...)...))
			out := strip(t, name, b)
			was, is := tags(t, b), tags(t, out)
			if bytes.Equal(out, b) || !strings.Contains(was, "48.1") {
				t.Fatalf("nothing was stripped: %s", was)
			}
			if bytes.Contains(out, []byte("48.1173")) || strings.Contains(is, "48.1") {
				t.Errorf("the place is still there: %s", is)
			}
			for _, tag := range []string{"Home", "Camera"} {
				if strings.Count(was, tag) != strings.Count(is, tag) || !strings.Contains(was+name, "Home") && name != "place.3gp" {
					t.Errorf("%s is gone: %s, was %s", tag, is, was)
				}
			}
			if a, b := content(t, b), content(t, out); a != b {
				t.Errorf("the content changed:\n%s%s", a, b)
			}
		})
	}
}

func TestAFileWithoutAPlaceStaysAsItIs(t *testing.T) {
	for name, b := range small(t) {
		if name == "small.m4a" || bytes.Contains(b, []byte("48.1173")) { // the first has it as a number
			continue
		}
		if out := strip(t, name, b); !bytes.Equal(out, b) {
			t.Errorf("%s changed", name)
		}
	}
}

// A camera writes positions over time into a track of metadata. Here it is a second track of sound that says it is one.
func TestATrackOfMetadataIsEmptied(t *testing.T) {
	for name, args := range map[string][]string{"track.mp4": nil, "track-parts.mp4": {"-movflags", "empty_moov+default_base_moof", "-frag_duration", "100000"}} {
		b := bytes.Clone(read(t, makeFile(t, name, append([]string{"-f", "lavfi", "-i", "sine=duration=1", "-f", "lavfi", "-i", "sine=frequency=300:duration=1",
			"-map", "0", "-map", "1", "-c:a", "aac"}, args...)...)))
		one := content(t, b)
		i := bytes.LastIndex(b, []byte("soun"))
		if i < 0 || strings.Count(one, "\n") != 2 {
			t.Fatalf("not two tracks:\n%s", one)
		}
		copy(b[i:], "meta")
		out := strip(t, name, b)
		if is := content(t, out); is != one[:strings.Index(one, "\n")+1] {
			t.Errorf("%s: the sound is %s was %s", name, is, one)
		}
		zeros := 0
		for i := range b {
			if b[i] != 0 && out[i] == 0 {
				zeros++
			}
		}
		if zeros < 3000 {
			t.Errorf("%s: only %d bytes are gone", name, zeros)
		}
	}
}

func TestAFrameOfID3ThatMayBeAnythingIsEmptied(t *testing.T) {
	sound := beeps(t, "plain.mp3", "-b:a", "32k", "-id3v2_version", "0", "-write_xing", "0")
	frame := func(kind, body string) string {
		return kind + "\x00\x00\x00" + string(rune(len(body))) + "\x00\x00" + body
	}
	body := frame("TIT2", "\x00Home") + frame("GEOB", "\x00x\x00f\x00d\x00"+place) + frame("TXXX", "\x01\xff\xfeg\x00p\x00s\x00\x00\x00"+place) +
		frame("TXXX", "\x00mood\x00fine") + frame("TPE1", "\x00Me") + strings.Repeat("\x00", 20)
	b := append([]byte("ID3\x03\x00\x00\x00\x00\x01"+string(rune(len(body)-128))+body), sound...)
	out := strip(t, "tagged", b)
	for _, s := range []string{"Home", "mood\x00fine", "Me", "GEOB", "TXXX"} {
		if !bytes.Contains(out, []byte(s)) {
			t.Errorf("%q is gone", s)
		}
	}
	if bytes.Contains(out, []byte("48.1173")) {
		t.Error("the place is still there")
	}
}

func TestWhatIsCutOffAnywhereIsStrippedOrRefused(t *testing.T) {
	for name, b := range small(t) {
		done := 0
		for n := 0; n < len(b); n += 1 + n/30 {
			format := sound.Sniff(b)
			var out bytes.Buffer
			err := sound.Strip(ctx, &out, bytes.NewReader(b[:n]), format)
			if err != nil {
				if !errors.Is(err, sound.ErrMalformed) {
					t.Errorf("%s cut at %d: %v", name, n, err)
				}
				continue
			}
			done++
			if out.Len() != n || bytes.Contains(out.Bytes(), []byte("48.1173")) {
				t.Errorf("%s cut at %d: %d bytes, or still with the place", name, n, out.Len())
			}
		}
		if done == 0 {
			t.Errorf("%s was never stripped", name)
		}
	}
}

func TestStripOfAnUnknownFormatIsUnsupported(t *testing.T) {
	err := sound.Strip(ctx, &bytes.Buffer{}, bytes.NewReader([]byte("GIF89a")), "gif")
	if !errors.Is(err, sound.ErrUnsupported) {
		t.Error(err)
	}
}

func TestTheEndOfTheContextEndsTheCopy(t *testing.T) {
	over, cancel := context.WithCancel(ctx)
	cancel()
	err := sound.Strip(over, &bytes.Buffer{}, bytes.NewReader(make([]byte, 100)), sound.WAV)
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errDisk }

func TestAFullDiskIsTold(t *testing.T) {
	if err := sound.Strip(ctx, fullDisk{}, bytes.NewReader(make([]byte, 100)), sound.WAV); !errors.Is(err, errDisk) {
		t.Error(err)
	}
}
