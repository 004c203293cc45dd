package media

import (
	"mime"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gabriel-vasile/mimetype"

	"github.com/quckchat/quckchat/server/config"
)

// The classes of media, stored as upload.kind.
const (
	classImage = "image"
	classVideo = "video"
	classAudio = "audio"
	classFile  = "file"
)

// inline are the types that a browser is let show: they cannot carry a script. Everything else is a download, SVG and
// HTML above all. The value is the class and the extension of the address.
var inline = map[string]struct{ class, extension string }{
	"image/jpeg": {classImage, ".jpg"}, "image/png": {classImage, ".png"}, "image/gif": {classImage, ".gif"}, "image/webp": {classImage, ".webp"},
	"image/heic": {classImage, ".heic"}, "image/avif": {classImage, ".avif"},
	"video/mp4": {classVideo, ".mp4"}, "video/webm": {classVideo, ".webm"}, "video/quicktime": {classVideo, ".mov"},
	"video/x-msvideo": {classVideo, ".avi"}, "video/x-matroska": {classVideo, ".mkv"}, "video/3gpp": {classVideo, ".3gp"}, "video/ogg": {classVideo, ".ogv"},
	"audio/mpeg": {classAudio, ".mp3"}, "audio/mp4": {classAudio, ".m4a"}, "audio/wav": {classAudio, ".wav"}, "audio/ogg": {classAudio, ".ogg"},
	"audio/webm": {classAudio, ".webm"}, "audio/aac": {classAudio, ".aac"}, "audio/flac": {classAudio, ".flac"}, "audio/amr": {classAudio, ".amr"},
}

// spellings are other names of the same types, as the sniffer or a client writes them.
var spellings = map[string]string{
	"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/heif": "image/heic", "image/heic-sequence": "image/heic", "image/heif-sequence": "image/heic",
	"image/vnd.mozilla.apng": "image/png", "image/apng": "image/png", "audio/x-m4a": "audio/mp4", "audio/m4a": "audio/mp4", "audio/x-wav": "audio/wav", "audio/wave": "audio/wav",
	"audio/x-flac": "audio/flac", "audio/mp3": "audio/mpeg", "audio/x-aac": "audio/aac", "application/ogg": "audio/ogg", "video/x-m4v": "video/mp4",
	"video/qucktime": "video/quicktime", "video/3gpp2": "video/3gpp", "audio/opus": "audio/ogg",
}

// headSize is how many bytes the sniffer looks at.
const headSize = 3072

// kind is what an upload is.
type kind struct {
	class     string
	mimeType  string
	extension string // with its dot, "" for none
}

// sniff finds out from the first bytes what an upload is. The name it came with decides nothing but the extension of
// a file that is only ever downloaded; what the client calls its type decides nothing at all.
func sniff(head []byte, fileName string) kind {
	found := mimetype.Detect(head)
	for m := found; m != nil; m = m.Parent() {
		name, _, _ := mime.ParseMediaType(m.String())
		if proper, ok := spellings[name]; ok {
			name = proper
		}
		if in, ok := inline[name]; ok {
			return kind{in.class, name, in.extension}
		}
	}
	name, _, err := mime.ParseMediaType(found.String())
	if err != nil {
		name = "application/octet-stream"
	}
	return kind{classFile, name, extensionOf(name, fileName)}
}

// extensionOf is the extension in the address of an upload, with its dot; "" for none.
func extensionOf(mimeType, fileName string) string {
	if in, ok := inline[mimeType]; ok {
		return in.extension
	}
	return fileExtension(fileName)
}

// asAudio is what a sound is that came in a box for moving pictures, as browsers and phones record voice notes.
func (k kind) asAudio() kind {
	switch k.mimeType {
	case "video/mp4", "video/3gpp", "video/quicktime":
		return kind{classAudio, "audio/mp4", ".m4a"}
	case "video/webm", "video/x-matroska":
		return kind{classAudio, "audio/webm", ".webm"}
	case "video/ogg":
		return kind{classAudio, "audio/ogg", ".ogg"}
	}
	return k
}

// fileExtension is the extension of a name when it is a plain one.
func fileExtension(name string) string {
	extension := strings.ToLower(filepath.Ext(name))
	if len(extension) < 2 || len(extension) > 9 || strings.ContainsFunc(extension[1:], func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }) {
		return ""
	}
	return extension
}

// limit is how many bytes an upload of the class may have when it comes in one piece.
func limit(c *config.Config, class string) int64 {
	switch class {
	case classImage:
		return int64(c.Media.ImageMax)
	case classVideo:
		return int64(c.Media.VideoMax)
	case classAudio:
		return int64(c.Media.AudioMax)
	}
	return int64(c.Media.FileMax)
}

// nameMax is how many bytes of the name of a file are kept.
const nameMax = 255

// plainName is the name a file came with, without folders and without what no name needs.
func plainName(name string) string {
	name = strings.ToValidUTF8(name, "")
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u202e' || r == '\u202d' { // an overridden direction makes exe.txt of txt.exe
			return -1
		}
		return r
	}, name)
	name = strings.TrimSpace(name)
	for len(name) > nameMax { // from the front: the extension says what it is
		_, size := utf8.DecodeRuneInString(name)
		name = name[size:]
	}
	if name == "." || name == ".." {
		return ""
	}
	return name
}
