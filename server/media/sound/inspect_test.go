package sound_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/media/sound"
)

// recordings are the note in every format, with what has to come out.
var recordings = []struct {
	name     string
	args     []string
	format   sound.Format
	codec    string
	rate     int
	channels int
	off      time.Duration // what the encoder may add to the note
	alike    float64
}{
	{"u8.wav", []string{"-c:a", "pcm_u8"}, sound.WAV, "pcm", 48000, 1, 0, .99},
	{"s16.wav", []string{"-c:a", "pcm_s16le"}, sound.WAV, "pcm", 48000, 1, 0, .99},
	{"s24.wav", []string{"-c:a", "pcm_s24le", "-ac", "2"}, sound.WAV, "pcm", 48000, 2, 0, .99},
	{"s32.wav", []string{"-c:a", "pcm_s32le"}, sound.WAV, "pcm", 48000, 1, 0, .99},
	{"f32.wav", []string{"-c:a", "pcm_f32le"}, sound.WAV, "float", 48000, 1, 0, .99},
	{"f64.wav", []string{"-c:a", "pcm_f64le"}, sound.WAV, "float", 48000, 1, 0, .99},
	{"six.wav", []string{"-ac", "6"}, sound.WAV, "pcm", 48000, 6, 0, .99},
	{"alaw.wav", []string{"-c:a", "pcm_alaw", "-ar", "8000"}, sound.WAV, "alaw", 8000, 1, 1, .98},
	{"mulaw.wav", []string{"-c:a", "pcm_mulaw", "-ar", "8000"}, sound.WAV, "mulaw", 8000, 1, 1, .98},
	{"rf64.wav", []string{"-rf64", "always"}, sound.WAV, "pcm", 48000, 1, 0, .99},
	{"cbr.mp3", []string{"-b:a", "64k"}, sound.MP3, "mp3", 48000, 1, 80, .95},
	{"vbr.mp3", []string{"-q:a", "4", "-ac", "2"}, sound.MP3, "mp3", 48000, 2, 80, .95},
	{"noxing.mp3", []string{"-b:a", "96k", "-write_xing", "0", "-ar", "44100"}, sound.MP3, "mp3", 44100, 1, 80, .98},
	{"slow.mp3", []string{"-b:a", "48k", "-ar", "24000"}, sound.MP3, "mp3", 24000, 1, 120, .7},
	{"adts.aac", []string{"-c:a", "aac"}, sound.AAC, "aac", 48000, 1, 80, .98},
	{"end.m4a", []string{"-c:a", "aac", "-b:a", "64k"}, sound.MP4, "aac", 48000, 1, 30, .98},
	{"start.m4a", []string{"-c:a", "aac", "-ac", "2", "-movflags", "faststart"}, sound.MP4, "aac", 48000, 2, 30, .98},
	{"low.m4a", []string{"-c:a", "aac", "-b:a", "24k", "-ar", "16000"}, sound.MP4, "aac", 16000, 1, 70, .95},
	{"fragments.mp4", []string{"-c:a", "aac", "-movflags", "empty_moov+default_base_moof", "-frag_duration", "1000000"},
		sound.MP4, "aac", 48000, 1, 50, .98},
	{"quicktime.mov", []string{"-c:a", "aac"}, sound.MP4, "aac", 48000, 1, 30, .98},
	{"opus.mp4", []string{"-c:a", "libopus"}, sound.MP4, "opus", 48000, 1, 30, .98},
	{"mp3.mp4", []string{"-c:a", "libmp3lame", "-b:a", "64k"}, sound.MP4, "mp3", 48000, 2, 80, .98}, // always two, there
	{"celt.opus", []string{"-c:a", "libopus", "-b:a", "96k", "-ac", "2"}, sound.Ogg, "opus", 48000, 2, 1, .98},
	{"hybrid.opus", []string{"-c:a", "libopus", "-b:a", "24k", "-application", "voip"}, sound.Ogg, "opus", 48000, 1, 1, .98},
	{"silk.opus", []string{"-c:a", "libopus", "-b:a", "9k", "-application", "voip", "-frame_duration", "60"},
		sound.Ogg, "opus", 48000, 1, 1, .98},
	{"vorbis.ogg", []string{"-c:a", "libvorbis", "-ac", "2"}, sound.Ogg, "vorbis", 48000, 2, 1, .98},
	{"opus.webm", []string{"-c:a", "libopus"}, sound.WebM, "opus", 48000, 1, 30, .98},
	{"live.webm", []string{"-c:a", "libopus", "-live", "1"}, sound.WebM, "opus", 48000, 1, 30, .98},
	{"vorbis.webm", []string{"-c:a", "libvorbis"}, sound.WebM, "vorbis", 48000, 1, 30, .98},
}

func TestBarsFollowTheLoudnessThatFFmpegMeasures(t *testing.T) {
	wav := note(t)
	long := inspect(t, wav).Duration
	for _, r := range recordings {
		t.Run(r.name, func(t *testing.T) {
			path := makeFile(t, r.name, append([]string{"-i", wav}, r.args...)...)
			info := inspect(t, path)
			if info.Format != r.format || info.Codec != r.codec || info.SampleRate != r.rate || info.Channels != r.channels {
				t.Errorf("told %s %s, %d Hz, %d channels", info.Format, info.Codec, info.SampleRate, info.Channels)
			}
			if d := info.Duration - long; d < -r.off*time.Millisecond || d > r.off*time.Millisecond {
				t.Errorf("told %v, the note lasts %v", info.Duration, long)
			}
			rms := loudness(t, path)
			got := alike(info.Waveform, rms)
			t.Logf("correlation %.4f, %v", got, info.Duration)
			if len(info.Waveform) != sound.Bars || got < r.alike {
				t.Fatalf("bars %v correlate %.3f with %.0f", info.Waveform, got, rms)
			}
			loudest, most := byte(0), 0.0
			for i, v := range info.Waveform {
				loudest, most = max(loudest, v), max(most, rms[i])
			}
			silent := 0
			for i, v := range info.Waveform {
				if rms[i] < most/100 && i > 20 && i < 40 {
					if silent++; v > 16 {
						t.Errorf("bar %d is %d in the pause", i, v)
					}
				}
			}
			if loudest != 255 || silent < 8 {
				t.Errorf("the loudest bar is %d, %d bars of pause", loudest, silent)
			}
		})
	}
}

func TestTheDurationIsExactToTheMillisecondWhereTheFormatIs(t *testing.T) {
	const want = 3217 * time.Millisecond
	for name, args := range map[string][]string{
		"exact.wav": nil, "exact.flac": nil, "exact.opus": {"-c:a", "libopus"}, "exact.ogg": {"-c:a", "libvorbis"},
		"exact.m4a": {"-c:a", "aac"},
	} {
		path := makeFile(t, name, append([]string{"-f", "lavfi", "-i", "sine=sample_rate=48000", "-t", "3.217"}, args...)...)
		if got := inspect(t, path).Duration; got != want {
			t.Errorf("%s lasts %v, want %v", name, got, want)
		}
	}
}

func TestAFormatWithoutADecoderStillTellsItsLength(t *testing.T) {
	info := inspect(t, makeFile(t, "plain.flac", "-i", note(t)))
	if info.Format != sound.FLAC || info.Channels != 1 || info.SampleRate != 48000 || info.Waveform != nil || info.Duration < 5*time.Second {
		t.Errorf("flac: %+v", info)
	}
	amr := append([]byte("#!AMR\n"), bytes.Repeat(append([]byte{0x3C}, make([]byte, 31)...), 100)...)
	info, err := sound.Inspect(ctx, bytes.NewReader(amr))
	if err != nil || info.Codec != "amr" || info.Duration != 2*time.Second || info.Waveform != nil {
		t.Errorf("amr: %+v, %v", info, err)
	}
}

func TestAStreamWithoutSizesIsReadToItsEnd(t *testing.T) {
	wav := note(t)
	want := inspect(t, wav).Duration
	for format, args := range map[string][]string{"wav": nil, "webm": {"-c:a", "libopus"}} {
		c := exec.Command("ffmpeg", append(append([]string{"-nostdin", "-v", "error", "-i", wav}, args...), "-f", format, "pipe:1")...)
		out, err := c.Output() // into a pipe: it cannot go back and write sizes
		if err != nil {
			t.Fatal(err)
		}
		info, err := sound.Inspect(ctx, bytes.NewReader(out))
		if d := info.Duration - want; err != nil || d < 0 || d > 30*time.Millisecond {
			t.Errorf("%s lasts %v, want %v: %v", format, info.Duration, want, err)
		}
	}
}

func TestRecordingsThatFollowEachOtherInOneOggAreAddedUp(t *testing.T) {
	one := beeps(t, "chain.opus", "-c:a", "libopus")
	two := bytes.Clone(one)
	for i := 0; i+27 < len(two); i++ { // another serial number; the checksum is not looked at
		if string(two[i:i+5]) == "OggS\x00" {
			two[i+14]++
		}
	}
	info, err := sound.Inspect(ctx, bytes.NewReader(append(one, two...)))
	if err != nil || info.Duration != 2*time.Second {
		t.Errorf("%v, %v", info.Duration, err)
	}
}

func TestALongRecordingIsHeardInParts(t *testing.T) {
	path := makeFile(t, "long.opus", "-f", "lavfi", "-i", "anoisesrc=sample_rate=8000:duration=660:amplitude=0.5",
		"-af", "volume='if(lt(t,330),1,0.25)':eval=frame", "-c:a", "libopus", "-b:a", "8k", "-compression_level", "0")
	begin := time.Now()
	info := inspect(t, path)
	t.Logf("%v in %v", info.Duration, time.Since(begin))
	for i, v := range info.Waveform {
		if loud := i < 31; loud && v < 200 || i > 32 && (v > 90 || v < 40) {
			t.Fatalf("bar %d is %d: %v", i, v, info.Waveform)
		}
	}
}

func TestSilenceHasNoBars(t *testing.T) {
	for _, name := range []string{"silence.wav", "silence.m4a", "silence.mp3", "silence.opus"} {
		info := inspect(t, makeFile(t, name, "-f", "lavfi", "-i", "anullsrc=sample_rate=48000", "-t", "2"))
		if !bytes.Equal(info.Waveform, make([]byte, sound.Bars)) {
			t.Errorf("%s: %v", name, info.Waveform)
		}
	}
}

func TestOnlyTheRightSideIsHeardToo(t *testing.T) {
	path := makeFile(t, "right.m4a", "-f", "lavfi", "-i", "sine=duration=2", "-af", "pan=stereo|c1=c0", "-c:a", "aac")
	if info := inspect(t, path); info.Waveform[30] < 150 {
		t.Errorf("bars %v", info.Waveform)
	}
}

// small are files of a second in every format, for tests that read them very often.
func small(t testing.TB) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for name, args := range map[string][]string{
		"small.wav": {"-ar", "8000"}, "small.mp3": {"-b:a", "16k", "-ar", "16000"}, "small.aac": {"-c:a", "aac", "-b:a", "16k"},
		"small.m4a":  {"-c:a", "aac", "-b:a", "16k", "-metadata", "location=+48.1173+011.5167/", "-metadata", "title=Home"},
		"small.opus": {"-c:a", "libopus", "-b:a", "8k"}, "small.ogg": {"-c:a", "libvorbis", "-ar", "16000"},
		"small.webm": {"-c:a", "libopus", "-b:a", "8k", "-metadata", "LOCATION=+48.1173+011.5167/"},
		"small.mp4":  {"-c:a", "aac", "-b:a", "16k", "-movflags", "empty_moov+default_base_moof", "-frag_duration", "200000"},
		"small.mov":  {"-c:a", "aac", "-b:a", "16k", "-movflags", "use_metadata_tags", "-metadata", placeKey + "=+48.1173+011.5167/"},
		"small.flac": {"-ar", "8000"},
	} {
		files[name] = beeps(t, name, args...)
	}
	return files
}

func TestAFileCutOffAnywhereIsToldOrRefused(t *testing.T) {
	for name, b := range small(t) {
		told := 0
		for n := 0; n < len(b); n += 1 + n/30 {
			info, err := sound.Inspect(ctx, bytes.NewReader(b[:n]))
			switch {
			case err == nil:
				told++
				if info.Duration < 0 || info.Duration > 2*time.Second || info.Waveform != nil && len(info.Waveform) != sound.Bars {
					t.Errorf("%s cut at %d: %+v", name, n, info)
				}
			case !errors.Is(err, sound.ErrMalformed) && !errors.Is(err, sound.ErrUnsupported):
				t.Errorf("%s cut at %d: %v", name, n, err)
			}
		}
		if told == 0 && name != "small.m4a" && name != "small.mov" { // whose header is at the end
			t.Errorf("%s: nothing was told of any part", name)
		}
	}
}

func TestWhatIsNoRecordingIsUnsupported(t *testing.T) {
	for _, s := range []string{"", "x", "\xff", "hello, this is text", "\x89PNG\r\n\x1a\n", "#EXTM3U\n", "RIFF\x00\x00\x00\x00AVI LIST", "ID3", "OggS\x00"} {
		if _, err := sound.Inspect(ctx, bytes.NewReader([]byte(s))); !errors.Is(err, sound.ErrUnsupported) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestTheEndOfTheContextEndsTheReading(t *testing.T) {
	for name, b := range small(t) {
		over, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := sound.Inspect(over, bytes.NewReader(b)); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// failing is a file whose disk breaks after some reads.
type failing struct {
	io.ReadSeeker
	left int
}

var errDisk = errors.New("the disk is broken")

func (f *failing) Read(b []byte) (int, error) {
	if f.left--; f.left < 0 {
		return 0, errDisk
	}
	return f.ReadSeeker.Read(b)
}

func TestABrokenDiskIsNotAMalformedFile(t *testing.T) {
	for name, b := range small(t) {
		_, err := sound.Inspect(ctx, &failing{bytes.NewReader(b), 0})
		if !errors.Is(err, errDisk) || errors.Is(err, sound.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// endless is a file of zeros with a beginning, of any size.
type endless struct {
	head     []byte
	at, size int64
	read     int64
}

func (e *endless) Read(b []byte) (int, error) {
	if e.at >= e.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), e.size-e.at))
	clear(b[:n])
	if e.at < int64(len(e.head)) {
		copy(b[:n], e.head[e.at:])
	}
	e.at += int64(n)
	e.read += int64(n)
	return n, nil
}

func (e *endless) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += e.at
	case io.SeekEnd:
		off += e.size
	}
	e.at = off
	return off, nil
}

func TestALargeFileTakesLittleMemory(t *testing.T) {
	head := []byte("RIFF\xff\xff\xff\xffWAVEfmt \x10\x00\x00\x00\x01\x00\x02\x00\x44\xac\x00\x00\x10\xb1\x02\x00\x04\x00\x10\x00data\xff\xff\xff\xff")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	info, err := sound.Inspect(ctx, &endless{head: head, size: 96 << 20})
	runtime.ReadMemStats(&after)
	if err != nil || info.Duration < 5*time.Minute {
		t.Fatalf("%+v, %v", info, err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 2<<20 {
		t.Errorf("%d bytes were allocated", n)
	}
}

func TestAnEmptyFileOfEachFormatIsMalformed(t *testing.T) {
	for _, head := range []string{
		"RIFF\x00\x00\x00\x00WAVE", "ID3\x04\x00\x00\x00\x00\x00\x00", "fLaC", "\x00\x00\x00\x08ftyp", "\x1a\x45\xdf\xa3\x80",
	} {
		begin := time.Now()
		_, err := sound.Inspect(ctx, &endless{head: []byte(head), size: 64 << 20})
		if !errors.Is(err, sound.ErrMalformed) {
			t.Errorf("%q: %v", head, err)
		}
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("%q took %v", head, d)
		}
	}
}

func TestAFileIsReadFromItsBeginningWhereverItStands(t *testing.T) {
	f, err := os.Open(makeFile(t, "small.opus", "-f", "lavfi", "-i", "sine=duration=1", "-c:a", "libopus", "-b:a", "8k"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Seek(77, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if info, err := sound.Inspect(ctx, f); err != nil || info.Duration != time.Second {
		t.Errorf("%v, %v", info.Duration, err)
	}
}
