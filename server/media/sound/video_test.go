package sound_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/jpeg"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/media/sound"
)

// film makes two seconds of black and two of a picture, 320x180, with sound.
func film(t testing.TB, name string, args ...string) string {
	t.Helper()
	if slices.Contains(args, "-metadata:s:v") { // what is encoded is turned at once, what is copied is only marked
		return makeFile(t, name, append([]string{"-i", film(t, "film.mp4"), "-c", "copy"}, args...)...)
	}
	return makeFile(t, name, append([]string{"-f", "lavfi", "-i", "color=black:size=320x180:rate=10:duration=2", "-f", "lavfi", "-i",
		"testsrc=size=320x180:rate=10:duration=2", "-f", "lavfi", "-i", "sine=duration=4", "-filter_complex", "[0][1]concat=n=2[v]",
		"-map", "[v]", "-map", "2:a"}, args...)...)
}

var films = []struct {
	name     string
	args     []string
	codec    string
	w, h     int
	duration time.Duration
	tool     bool // needs ffprobe
}{
	{"film.mp4", nil, "avc1", 320, 180, 4000 * time.Millisecond, false},
	{"turned.mov", []string{"-metadata:s:v", "rotate=90"}, "avc1", 180, 320, 4000 * time.Millisecond, false},
	{"over.mp4", []string{"-metadata:s:v", "rotate=180"}, "avc1", 320, 180, 4000 * time.Millisecond, false},
	{"wide.mp4", []string{"-aspect", "32:9"}, "avc1", 640, 180, 4000 * time.Millisecond, false},
	{"pieces.mp4", []string{"-movflags", "frag_keyframe+empty_moov"}, "avc1", 320, 180, 4200 * time.Millisecond, false},
	{"film.webm", []string{"-c:v", "libvpx", "-c:a", "libopus"}, "V_VP8", 320, 180, 4000 * time.Millisecond, false},
	{"live-film.webm", []string{"-c:v", "libvpx", "-c:a", "libopus", "-f", "webm", "-live", "1"}, "V_VP8", 320, 180, 4000 * time.Millisecond, false},
	{"film.mkv", []string{"-c:v", "mpeg4", "-c:a", "aac"}, "V_MPEG4/ISO/ASP", 320, 180, 4000 * time.Millisecond, false},
	{"film.avi", []string{"-c:v", "mpeg4"}, "mpeg4", 320, 180, 4000 * time.Millisecond, true},
	{"film.ts", []string{"-c:v", "libx264"}, "h264", 320, 180, 4000 * time.Millisecond, true},
	{"film.mpg", []string{"-c:v", "mpeg2video"}, "mpeg2video", 320, 180, 4000 * time.Millisecond, true},
	{"film.flv", []string{"-c:v", "flv", "-ar", "44100"}, "flv1", 320, 180, 4000 * time.Millisecond, true},
	{"film.wmv", []string{"-c:v", "wmv2"}, "wmv2", 320, 180, 4000 * time.Millisecond, true},
	{"film.ogv", []string{"-c:v", "libtheora", "-c:a", "libvorbis"}, "theora", 320, 180, 4000 * time.Millisecond, true},
}

func TestProbeTellsSizeAndDuration(t *testing.T) {
	for _, f := range films {
		t.Run(f.name, func(t *testing.T) {
			path := film(t, f.name, f.args...)
			if f.tool {
				needs(t, "ffprobe")
			} else {
				t.Setenv("PATH", "") // the headers are enough
			}
			v, err := sound.Probe(ctx, path)
			if err != nil {
				t.Fatal(err)
			}
			if v.Width != f.w || v.Height != f.h || v.Codec != f.codec || !v.HasAudio {
				t.Errorf("told %+v", v)
			}
			if d := v.Duration - f.duration; d < -150*time.Millisecond || d > 150*time.Millisecond {
				t.Errorf("told %v", v.Duration)
			}
		})
	}
}

func TestWithoutFFmpegOtherFormatsAreUnsupported(t *testing.T) {
	avi, mp4 := film(t, "film.avi", "-c:v", "mpeg4"), film(t, "film.mp4")
	t.Setenv("PATH", t.TempDir())
	if _, err := sound.Probe(ctx, avi); !errors.Is(err, sound.ErrUnsupported) {
		t.Errorf("probe: %v", err)
	}
	if _, err := sound.Poster(ctx, mp4, 0, 200); !errors.Is(err, sound.ErrUnsupported) {
		t.Errorf("poster: %v", err)
	}
}

func decode(t *testing.T, b []byte) image.Image {
	t.Helper()
	m, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func light(m image.Image) (sum int) {
	b := m.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			_, g, _, _ := m.At(x, y).RGBA()
			sum += int(g >> 8)
		}
	}
	return sum / (b.Dx() * b.Dy())
}

func TestAPosterShowsMoreThanBlack(t *testing.T) {
	needs(t, "ffprobe")
	for _, f := range films {
		t.Run(f.name, func(t *testing.T) {
			b, err := sound.Poster(ctx, film(t, f.name, f.args...), time.Second, 100)
			if err != nil {
				t.Fatal(err)
			}
			m := decode(t, b)
			w, h := 100, 100*f.h/f.w
			if f.h > f.w {
				w, h = 100*f.w/f.h, 100
			}
			if size := m.Bounds().Size(); max(size.X-w, w-size.X, size.Y-h, h-size.Y) > 2 {
				t.Errorf("the poster is %v, want %dx%d", size, w, h)
			}
			if l := light(m); l < 30 {
				t.Errorf("the poster is as dark as %d", l)
			}
		})
	}
}

func TestAPosterIsNotLargerThanTheFilm(t *testing.T) {
	for at, side := range map[time.Duration]int{time.Hour: 5000, 3 * time.Second: 321, -time.Second: 320} {
		b, err := sound.Poster(ctx, film(t, "film.mp4"), at, side)
		if err != nil {
			t.Fatal(err)
		}
		if size := decode(t, b).Bounds().Size(); size != image.Pt(320, 180) {
			t.Errorf("the poster is %v", size)
		}
	}
}

func TestABlackFilmHasABlackPoster(t *testing.T) {
	path := makeFile(t, "black.mp4", "-f", "lavfi", "-i", "color=black:size=64x64:duration=1")
	if b, err := sound.Poster(ctx, path, 0, 64); err != nil || light(decode(t, b)) > 5 {
		t.Error(err)
	}
}

func TestANameIsNeverAnOption(t *testing.T) {
	b := read(t, film(t, "film.mp4"))
	t.Chdir(t.TempDir())
	for _, name := range []string{"-i", "-y", "--help", "a b.mp4", "http:x", "concat:a|b", "100%d.mp4", "$(touch x)", "'\"\n"} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := sound.Poster(ctx, name, 3*time.Second, 64); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := os.Stat("x"); err == nil {
		t.Error("a shell ran")
	}
}

// A playlist has ffmpeg open what it lists. What is listed here is a server that says when it is asked, and a film whose
// picture must not show up.
func TestAPlaylistIsNotFollowed(t *testing.T) {
	secret := film(t, "film.ts", "-c:v", "libx264")
	needs(t, "ffprobe")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Error("the network was asked")
			c.Close()
		}
	}()
	url := "http://" + l.Addr().String() + "/x.ts"
	hls := func(target string) string {
		return "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n" + target + "\n#EXT-X-ENDLIST\n"
	}
	ftyp := "\x00\x00\x00\x10ftypisom\x00\x00\x00\x00"
	riff := "RIFF\x00\x01\x00\x00AVI "
	for name, text := range map[string]string{
		"net.m3u8": hls(url), "file.m3u8": hls("file://" + secret), "join.txt": "ffconcat version 1.0\nfile " + secret + "\n",
		"net.mp4": ftyp + hls(url), "file.mp4": ftyp + hls("file:"+secret), "file.avi": riff + hls("file:"+secret),
		"sdp.mp4": "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n", "dash.mp4": "<?xml version=\"1.0\"?><MPD><BaseURL>" + url + "</BaseURL></MPD>",
		"net.ts": "G" + hls(url), "subject.mp4": "subfile,,start,0,end,0,,:" + secret,
	} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if v, err := sound.Probe(ctx, path); err == nil && v.Width > 0 {
			t.Errorf("%s was probed: %+v", name, v)
		} else if !errors.Is(err, sound.ErrMalformed) && !errors.Is(err, sound.ErrUnsupported) {
			t.Errorf("probe of %s: %v", name, err)
		}
		_, err := sound.Poster(ctx, path, 0, 64)
		if !errors.Is(err, sound.ErrMalformed) && !errors.Is(err, sound.ErrUnsupported) {
			t.Errorf("poster of %s: %v", name, err)
		}
	}
	l.Close()
	<-asked
}

func TestADamagedFilmIsMalformed(t *testing.T) {
	needs(t, "ffprobe")
	for _, f := range films {
		b := bytes.Clone(read(t, film(t, f.name, f.args...)))
		for i := range b[400:] {
			b[400+i] ^= byte(i * 7)
		}
		path := filepath.Join(t.TempDir(), f.name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := sound.Probe(ctx, path); err != nil && !errors.Is(err, sound.ErrMalformed) {
			t.Errorf("probe of %s: %v", f.name, err)
		}
		if _, err := sound.Poster(ctx, path, 0, 64); err != nil && !errors.Is(err, sound.ErrMalformed) {
			t.Errorf("poster of %s: %v", f.name, err)
		}
	}
}

func TestAMissingFileIsNotAMalformedOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.mp4")
	if _, err := sound.Probe(ctx, path); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := sound.Poster(ctx, path, 0, 64); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestTheEndOfTheContextEndsThePoster(t *testing.T) {
	path := film(t, "film.mp4")
	over, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := sound.Poster(over, path, 0, 64); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
