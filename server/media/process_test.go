package media_test

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	_ "image/png"
	"math"
	"strings"
	"testing"

	_ "golang.org/x/image/webp"

	"github.com/quckchat/quckchat/server/servertest"
)

// photo is a JPEG as a phone makes it: how it lies, and where it was taken. Its left half is red as it lies in the file.
func photo(t *testing.T, width, height, orientation int) []byte {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			c := color.RGBA{0, 0, 255, 255}
			if x < width/2 {
				c = color.RGBA{255, 0, 0, 255}
			}
			m.Set(x, y, c)
		}
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, m, &jpeg.Options{Quality: 90}); err != nil {
		t.Fatal(err)
	}
	tag := func(id, kind uint16, count, value uint32) []byte {
		b := binary.BigEndian.AppendUint16(nil, id)
		b = binary.BigEndian.AppendUint16(b, kind)
		b = binary.BigEndian.AppendUint32(b, count)
		return binary.BigEndian.AppendUint32(b, value)
	}
	tiff := []byte("MM\x00\x2a\x00\x00\x00\x08\x00\x02")
	tiff = append(tiff, tag(0x0112, 3, 1, uint32(orientation)<<16)...)
	tiff = append(tiff, tag(0x8825, 4, 1, 38)...) // GPS
	tiff = append(tiff, 0, 0, 0, 0)
	tiff = append(tiff, 0, 1)
	tiff = append(tiff, tag(0x0001, 2, 2, 'N'<<24)...)
	tiff = append(tiff, 0, 0, 0, 0)
	tiff = append(tiff, "secret place 41.38N 2.17E"...)
	exif := append([]byte("Exif\x00\x00"), tiff...)
	segment := append([]byte{0xff, 0xe1}, binary.BigEndian.AppendUint16(nil, uint16(len(exif)+2))...)
	raw := out.Bytes()
	return append(append(append([]byte{0xff, 0xd8}, append(segment, exif...)...), raw[2:]...), "trailing secret place"...)
}

func decoded(t *testing.T, r servertest.Reply) (image.Image, string) {
	t.Helper()
	if r.Status != 200 {
		t.Fatalf("%d %s", r.Status, r.Body)
	}
	m, format, err := image.Decode(bytes.NewReader(r.Body))
	if err != nil {
		t.Fatalf("%v: %s", err, r.Header)
	}
	return m, format
}

func reddish(c color.Color) bool {
	r, _, b, _ := c.RGBA()
	return r > 2*b
}

func TestAPhotoComesOutUprightWithoutItsPlaceAndWithSmallOnes(t *testing.T) {
	s := servertest.Start(t)
	ada, nobody := s.Register("ada"), s.Nobody()
	for orientation := 1; orientation <= 8; orientation++ {
		width, height := 400, 300
		large := orientation == 6 // one of them: the race detector makes pixels slow
		if large {
			width, height = 1400, 1050
		}
		longest := width
		up := upload(ada, "/upload/image", "IMG_0001.JPG", photo(t, width, height, orientation))
		if orientation >= 5 {
			width, height = height, width
		}
		if up.Type != "image" || up.MimeType != "image/jpeg" || up.Width != int64(width) || up.Height != int64(height) || up.State != "ready" || up.Thumbhash == "" || up.ThumbnailURL == "" || large != (up.PreviewURL != "") {
			t.Fatalf("orientation %d: %+v", orientation, up)
		}
		r := get(nobody, up.URL)
		if bytes.Contains(r.Body, []byte("secret place")) || bytes.Contains(r.Body, []byte("Exif")) {
			t.Errorf("orientation %d: the place is still there", orientation)
		}
		if cd := r.Header.Get("Content-Disposition"); !strings.HasPrefix(cd, "inline") {
			t.Errorf("a picture is shown: %s", cd)
		}
		for what, address := range map[string]string{"whole": up.URL, "thumbnail": strings.TrimPrefix(up.ThumbnailURL, s.URL), "preview": strings.TrimPrefix(up.PreviewURL, s.URL)} {
			if address == "" {
				continue
			}
			m, format := decoded(t, get(nobody, address))
			b := m.Bounds()
			if (b.Dx() > b.Dy()) != (width > height) {
				t.Errorf("orientation %d: %s is %v", orientation, what, b)
			}
			if most := map[string]int{"thumbnail": 320, "preview": 1280, "whole": longest}[what]; max(b.Dx(), b.Dy()) != most {
				t.Errorf("orientation %d: %s is %v", orientation, what, b)
			}
			if want := map[string]string{"thumbnail": "webp", "preview": "webp", "whole": "jpeg"}[what]; format != want {
				t.Errorf("%s is %s", what, format)
			}
			// Where red, the left of the file, belongs.
			x, y := b.Dx()/2, b.Dy()/2
			switch orientation {
			case 1, 4:
				x = b.Dx() / 8
			case 2, 3:
				x = b.Dx() * 7 / 8
			case 5, 6:
				y = b.Dy() / 8
			case 7, 8:
				y = b.Dy() * 7 / 8
			}
			if !reddish(m.At(b.Min.X+x, b.Min.Y+y)) {
				t.Errorf("orientation %d: %s has no red at %d, %d", orientation, what, x, y)
			}
			if reddish(m.At(b.Max.X-1-x, b.Max.Y-1-y)) {
				t.Errorf("orientation %d: %s has no blue opposite", orientation, what)
			}
		}
		if _, format := decoded(t, get(nobody, strings.TrimPrefix(up.ThumbnailURL, s.URL), "Accept", "image/png,image/jpeg")); format != "jpeg" {
			t.Errorf("a client without WebP got %s", format)
		}
	}
}

func TestAnAnimationStaysOne(t *testing.T) {
	s := servertest.Start(t)
	ada := s.Register("ada")
	animation := &gif.GIF{}
	for i := range 4 {
		frame := image.NewPaletted(image.Rect(0, 0, 400, 300), color.Palette{color.Black, color.White, color.RGBA{uint8(60 * i), 0, 0, 255}})
		for j := range frame.Pix {
			frame.Pix[j] = uint8((j + i) % 3)
		}
		animation.Image, animation.Delay = append(animation.Image, frame), append(animation.Delay, 10)
	}
	var out bytes.Buffer
	if err := gif.EncodeAll(&out, animation); err != nil {
		t.Fatal(err)
	}
	up := upload(ada, "/upload/image", "a.gif", out.Bytes())
	back, err := gif.DecodeAll(bytes.NewReader(get(ada, up.URL).Body))
	if err != nil || len(back.Image) != 4 {
		t.Errorf("came back with %v", err)
	}
	if m, _ := decoded(t, get(ada, strings.TrimPrefix(up.ThumbnailURL, s.URL))); m.Bounds().Dx() != 320 {
		t.Errorf("thumbnail %v", m.Bounds())
	}
}

// tone is a WAV of so many seconds that is silent in the middle third.
func tone(seconds int) []byte {
	const rate = 8000
	n := rate * seconds
	data := make([]byte, 0, 2*n)
	for i := range n {
		level := 20000.0
		if i > n/3 && i < 2*n/3 {
			level = 0
		}
		data = binary.LittleEndian.AppendUint16(data, uint16(int16(level*math.Sin(float64(i)/3))))
	}
	head := []byte("RIFF")
	head = binary.LittleEndian.AppendUint32(head, uint32(36+len(data)))
	head = append(head, "WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"...)
	head = binary.LittleEndian.AppendUint32(head, rate)
	head = binary.LittleEndian.AppendUint32(head, 2*rate)
	head = append(head, "\x02\x00\x10\x00data"...)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(data)))
	return append(head, data...)
}

func TestAVoiceNoteSaysHowLongAndHowLoudItIs(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	up := upload(ada, "/upload/audio", "note.wav", tone(3))
	if up.Type != "audio" || up.MimeType != "audio/wav" || up.Duration != 3 || len(up.Waveform) != 64 {
		t.Fatalf("%+v", up)
	}
	if up.Waveform[5] < 200 || up.Waveform[32] > 20 || up.Waveform[60] < 200 {
		t.Errorf("waveform %v", up.Waveform)
	}
	var sent struct {
		Attachments []struct {
			Type, MimeType string
			Duration       float64
			Waveform       []int
		}
	}
	ada.Do("POST", "/messages", map[string]any{"conversationId": ada.Single(bob), "type": "audio", "attachments": []map[string]any{{"type": "audio", "url": up.URL, "duration": 99}}}).OK(&sent)
	if a := sent.Attachments[0]; a.Duration != 3 || len(a.Waveform) != 64 {
		t.Errorf("sent %+v", a)
	}
}

func TestWhatIsNoPictureIsRefusedOrNeverShown(t *testing.T) {
	s := servertest.Start(t)
	ada := s.Register("ada")
	whole := photo(t, 64, 64, 1)
	svg := []byte(`<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`)
	html := []byte("<!doctype html><script>alert(1)</script>")
	for what, c := range map[string]struct {
		content []byte
		code    string
	}{
		"half a JPEG": {whole[:len(whole)/2], "IMAGE_DAMAGED"}, "SVG": {svg, "INVALID_FILE_TYPE"}, "HTML": {html, "INVALID_FILE_TYPE"},
		"a program": {[]byte("\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 100)), "INVALID_FILE_TYPE"},
	} {
		ada.Upload("/upload/image", servertest.File{Part: "file", Name: "x.jpg", Content: c.content}).Fails(400, c.code)
		up := upload(ada, "/upload/file", "x.jpg", c.content)
		r := get(ada, up.URL)
		if r.Header.Get("Content-Type") != "application/octet-stream" || !strings.HasPrefix(r.Header.Get("Content-Disposition"), "attachment") || up.Type != "file" {
			t.Errorf("%s: %+v, served as %v", what, up, r.Header)
		}
	}
	// A page hidden in a comment, and behind the end of a picture.
	polyglot := append(append([]byte{0xff, 0xd8, 0xff, 0xfe, 0, byte(len(html) + 2)}, html...), whole[2:]...)
	up := upload(ada, "/upload/image", "x.html", append(polyglot, html...))
	if r := get(ada, up.URL); bytes.Contains(r.Body, []byte("script")) || r.Header.Get("Content-Type") != "image/jpeg" {
		t.Errorf("the page is still there: %v", r.Header)
	}
}

func TestAProfileShowsASquare(t *testing.T) {
	s := servertest.Start(t)
	ada := s.Register("ada")
	for _, route := range []string{"/media/upload/avatar", "/upload/image"} {
		var row struct{ URL, Type string }
		ada.Upload(route, servertest.File{Part: "file", Name: "me.jpg", Content: photo(t, 900, 600, 6)}).OK(&row)
		var me struct{ Avatar *string }
		ada.Do("PUT", "/users/me", map[string]any{"avatar": row.URL}).OK(&me)
		eventually(t, func() bool {
			m, _ := decoded(t, get(s.Nobody(), *me.Avatar))
			return m.Bounds().Dx() == 512 && m.Bounds().Dy() == 512
		})
	}
}
