package record

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media/oggreader"

	"github.com/at-wat/ebml-go"
	"github.com/at-wat/ebml-go/webm"

	"github.com/quckchat/quckchat/turn/sfu"
)

// tape is a source of packets that are known.
type tape struct {
	codec   string
	clock   uint32
	packets []sfu.Packet
	asked   int
}

func (t *tape) Read(context.Context) (sfu.Packet, error) {
	if len(t.packets) == 0 {
		return sfu.Packet{}, io.EOF
	}
	p := t.packets[0]
	t.packets = t.packets[1:]
	return p, nil
}

func (t *tape) Codec() webrtc.RTPCodecCapability {
	return webrtc.RTPCodecCapability{MimeType: t.codec, ClockRate: t.clock}
}

func (t *tape) AskKeyFrame() { t.asked++ }

var start = time.Unix(1000, 0)

// speech is n packets of 20 ms without those numbers.
func speech(n int, without ...int) []sfu.Packet {
	var packets []sfu.Packet
next:
	for i := range n {
		for _, lost := range without {
			if i == lost {
				continue next
			}
		}
		packets = append(packets, sfu.Packet{At: start.Add(time.Duration(i) * 20 * time.Millisecond), Seq: uint16(65500 + i),
			Timestamp: uint32(1<<32 - 48000 + 960*i), Payload: []byte{0xFC, byte(i), 1, 2}})
	}
	return packets
}

func TestAudioIsAsLongAsItTook(t *testing.T) {
	packets := speech(200, 50, 51, 52, 120)
	packets[10], packets[11] = packets[11], packets[10] // one comes late
	var file bytes.Buffer
	r, err := Audio(t.Context(), &tape{codec: webrtc.MimeTypeOpus, clock: 48000, packets: packets}, &file)
	if err != nil {
		t.Fatal(err)
	}
	if r.Duration != 4*time.Second || r.Lost != 4 || r.Frames != 200 || !r.Began.Equal(start) {
		t.Errorf("result: %+v", r)
	}
	reader, _, err := oggreader.NewWith(bytes.NewReader(file.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	granule, pages := uint64(0), 0
	for {
		_, header, err := reader.ParseNextPage()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		pages++
		granule = max(granule, header.GranulePosition)
	}
	if granule < 4*48000 || granule > 4*48000+2000 || pages < 200 {
		t.Errorf("the file ends at %d after %d pages", granule, pages)
	}
	if out := probe(t, file.Bytes()); out != "" && !strings.HasPrefix(out, "4.0") && !strings.HasPrefix(out, "3.99") {
		t.Errorf("ffprobe takes it for %s s", out)
	}
}

func TestSilenceIsFilled(t *testing.T) {
	var packets []sfu.Packet
	for i := range 6 { // discontinuous transmission: a frame every 400 ms, numbered without gaps
		packets = append(packets, sfu.Packet{At: start, Seq: uint16(i), Timestamp: uint32(i * 19200), Payload: []byte{0xF8}})
	}
	var file bytes.Buffer
	r, err := Audio(t.Context(), &tape{codec: webrtc.MimeTypeOpus, clock: 48000, packets: packets}, &file)
	if err != nil || r.Duration != 5*400*time.Millisecond+20*time.Millisecond {
		t.Errorf("result: %+v, %v", r, err)
	}
}

// pictures is n frames of two packets each, 40 ms apart, a key frame every ten.
func pictures(n int) []sfu.Packet {
	var packets []sfu.Packet
	for i := range n {
		first := []byte{0x10, 1, 0, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xF0, 0, byte(i)}
		if i%10 == 0 {
			first[1] = 0
		}
		for k, payload := range [][]byte{first, {0x00, byte(i), 7}} {
			packets = append(packets, sfu.Packet{At: start.Add(time.Duration(i) * 40 * time.Millisecond), Seq: uint16(65530 + 2*i + k),
				Timestamp: uint32(3600 * i), Marker: k == 1, Payload: payload})
		}
	}
	return packets
}

func TestVideoStandsStillAfterALoss(t *testing.T) {
	packets := pictures(50)
	packets = append(packets[:30], packets[31:]...) // a half of frame 15
	packets = packets[4:]                           // and it begins without a key frame
	source := &tape{codec: webrtc.MimeTypeVP8, clock: 90000, packets: packets}
	var file bytes.Buffer
	r, err := Video(t.Context(), source, &file)
	if err != nil {
		t.Fatal(err)
	}
	if want := start.Add(400 * time.Millisecond); !r.Began.Equal(want) {
		t.Errorf("it began at %v, want %v", r.Began, want)
	}
	var written struct {
		Header  webm.EBMLHeader `ebml:"EBML"`
		Segment webm.Segment    `ebml:"Segment"`
	}
	if err := ebml.Unmarshal(bytes.NewReader(file.Bytes()), &written, ebml.WithIgnoreUnknown(true)); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	entry := written.Segment.Tracks.TrackEntry[0]
	if entry.CodecID != "V_VP8" || entry.Video.PixelWidth != 320 || entry.Video.PixelHeight != 240 {
		t.Errorf("the track: %+v %+v", entry, entry.Video)
	}
	var times []int64
	for _, cluster := range written.Segment.Cluster {
		for _, block := range cluster.SimpleBlock {
			times = append(times, int64(cluster.Timecode)+int64(block.Timecode))
		}
	}
	var want []int64
	for i := 10; i < 50; i++ {
		if i < 15 || i >= 20 {
			want = append(want, int64(40*(i-10)))
		}
	}
	if len(times) != len(want) || r.Frames != len(want) {
		t.Fatalf("%d frames at %v, want %d; %+v", len(times), times, len(want), r)
	}
	for i := range want {
		if times[i] != want[i] {
			t.Fatalf("frames at %v, want %v", times, want)
		}
	}
	if r.Duration != 39*40*time.Millisecond || r.Lost == 0 || source.asked < 2 {
		t.Errorf("result: %+v, %d key frames asked for", r, source.asked)
	}
}

func TestOfATrackWithoutPictures(t *testing.T) {
	var file bytes.Buffer
	r, err := Video(t.Context(), &tape{codec: webrtc.MimeTypeVP8, clock: 90000, packets: pictures(9)[2:]}, &file)
	if err != nil || r.Frames != 0 || file.Len() != 0 {
		t.Errorf("%+v, %v, %d bytes", r, err, file.Len())
	}
	if _, err := Video(t.Context(), &tape{codec: webrtc.MimeTypeH264, clock: 90000}, &file); !errors.Is(err, ErrCodec) {
		t.Errorf("H264: %v", err)
	}
	if _, err := Audio(t.Context(), &tape{codec: webrtc.MimeTypePCMU, clock: 8000}, &file); !errors.Is(err, ErrCodec) {
		t.Errorf("PCMU: %v", err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestAFullDiskIsTold(t *testing.T) {
	if _, err := Audio(t.Context(), &tape{codec: webrtc.MimeTypeOpus, clock: 48000, packets: speech(10)}, full{}); err == nil {
		t.Error("audio was written to a full disk")
	}
	if _, err := Video(t.Context(), &tape{codec: webrtc.MimeTypeVP8, clock: 90000, packets: pictures(20)}, full{}); err == nil {
		t.Error("video was written to a full disk")
	}
}

// probe asks ffprobe for the duration, where it is installed.
func probe(t *testing.T, file []byte) string {
	t.Helper()
	path, err := exec.LookPath("ffprobe")
	if err != nil {
		return ""
	}
	cmd := exec.Command(path, "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", "-")
	cmd.Stdin = bytes.NewReader(file)
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("ffprobe: %v", err)
	}
	if got := strings.TrimSpace(string(out)); got != "N/A" {
		return got
	}
	return ""
}
