package stocktest

import (
	"strings"

	"github.com/quckchat/quckchat/server/servertest"
)

// files sends a file that is not looked at yet, and one that turns out to be nothing to keep.
func (c *cast) files() {
	url := test(func(got any) bool {
		address, _ := got.(string)
		return strings.HasPrefix(address, "/uploads/files/") && strings.Contains(address, "&h=")
	})
	for i, from := range []*device{c.adaPhone, c.bobWeb} {
		content, gone := []string{"notes", "the plague"}[i], from == c.bobWeb
		c.scanner.Hold()
		address, answer := from.who.Begun("/upload/file", servertest.File{Part: "file", Name: "notes.txt", Content: []byte(content)})
		attached := func(state string, size int) shape {
			o := object{"url": url, "type": "file", "mimeType": "text/plain"}
			m, w := with(o, object{"_id": test(isID), "fileName": "notes.txt", "fileSize": size}), with(o, object{"id": url, "name": "notes.txt", "size": size})
			if state != "" {
				m["state"], w["state"] = state, state
			}
			if state == "refused" {
				m["refused"] = "FILE_INFECTED"
			}
			return shape{object{"type": "file", "content": nil, "attachments": list{m}}, object{"type": "file", "content": "", "attachments": list{w}}}
		}
		id := c.send("2.3 Attachment; additive state", from, c.group, object{"type": "file", "attachments": list{object{"type": "file", "url": address}}}, attached("processing", len(content)))
		c.scanner.Release()
		<-answer
		c.s.Emitted("message:media", i+1)
		after := attached("", len(content))
		if gone {
			after = attached("refused", 0)
		}
		says := c.message(c.group, id, c.lastN[c.group], from.who, after)
		c.hears(told{"additive message:media, message:edited to the phone app; 4.6 message:update", c.all, "message:media", "message:update",
			shape{with(says.chat.(object), object{"messageId": id}), says.web}})
	}
}
