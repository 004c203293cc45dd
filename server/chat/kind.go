package chat

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/media"
)

// Attachment is a file shown with a message (contract 2.3). Its address is that of an upload.
type Attachment = media.Attachment

// The limits of a message (contract 2.2). Its length is a setting.
const (
	clientIDMax    = 128
	metadataMax    = 8 << 10
	attachmentsMax = 10
)

// draft is a message before it is stored. Nothing in it needs to be checked any more but what it refers to.
type draft struct {
	conversationID string
	kind           string  // Message.Type
	content        *string // nil where a kind needs none
	clientID       *string
	replyTo        *string
	metadata       json.RawMessage
	original       *string // the message that it is to be a copy of
	attachments    []media.Ref
	copies         int // how many attachments the original has
}

// check makes a draft of what somebody wants to send. The schema has looked at it, but JSON finds a field in any case,
// and the schema does not. GIFs are fetched last, which takes time.
func (s *Service) check(ctx context.Context, by api.Caller, in *SendInput) (*draft, error) {
	b := &in.Body
	d := &draft{conversationID: b.ConversationID, kind: "text", clientID: b.ClientID, replyTo: b.ReplyTo, metadata: b.Metadata}
	if b.Type != nil {
		d.kind = *b.Type
	}
	if d.clientID != nil && *d.clientID == "" {
		d.clientID = nil
	}
	if string(d.metadata) == "null" {
		d.metadata = nil
	}
	if d.clientID != nil && utf8.RuneCountInString(*d.clientID) > clientIDMax {
		return nil, api.Invalid("clientId", fmt.Sprintf("expected at most %d characters", clientIDMax))
	}
	if b.ForwardedFrom != nil && *b.ForwardedFrom != "" {
		return &draft{conversationID: d.conversationID, clientID: d.clientID, replyTo: d.replyTo, original: b.ForwardedFrom}, nil
	}
	content, most := "", s.config.Get().MessageMaxLength
	if b.Content != nil {
		content = strings.ToValidUTF8(*b.Content, "\uFFFD")
	}
	if strings.TrimSpace(content) != "" {
		d.content = &content
	}
	switch {
	case len(d.metadata) > metadataMax:
		return nil, api.Invalid("metadata", fmt.Sprintf("expected at most %d bytes", metadataMax))
	case utf8.RuneCountInString(content) > most:
		return nil, api.E("MESSAGE_TOO_LONG", "max", most)
	case len(b.Attachments) > attachmentsMax:
		return nil, api.E("ATTACHMENTS_TOO_MANY", "max", attachmentsMax)
	}
	switch d.kind {
	case "image", "video", "audio", "file", "sticker":
		if len(b.Attachments) == 0 {
			return nil, api.E("ATTACHMENT_MISSING")
		}
	case "text":
		if len(b.Attachments) == 0 && d.content == nil {
			return nil, api.E("MESSAGE_EMPTY")
		}
	case "location":
		if err := checkLocation(d.metadata); err != nil {
			return nil, err
		}
	case "contact":
		if err := checkContact(d.metadata); err != nil {
			return nil, err
		}
	default: // system, call and huddle are written by the server, poll by polls
		return nil, api.Invalid("type", "expected one of text, image, video, audio, file, sticker, location, contact")
	}
	attachments, err := s.media.ImportGIFs(ctx, by, b.Attachments)
	if err != nil {
		return nil, err
	}
	d.attachments, err = media.Refs(attachments)
	return d, err
}

var (
	contactPhone = regexp.MustCompile(`^\+?[0-9][0-9 ().-]{1,30}$`) // as an address book writes them
	contactID    = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)
)

// checkLocation holds the metadata of a location to {latitude, longitude, name?, address?}. What else is there is kept
// for clients that know more.
func checkLocation(metadata json.RawMessage) error {
	at, err := object(metadata)
	if err != nil {
		return err
	}
	if err := number(at, "latitude", 90); err != nil {
		return err
	}
	if err := number(at, "longitude", 180); err != nil {
		return err
	}
	if err := phrase(at, "name", 0, 200); err != nil {
		return err
	}
	return phrase(at, "address", 0, 500)
}

// checkContact holds the metadata of a contact to {name, phoneNumber?, userId?}.
func checkContact(metadata json.RawMessage) error {
	card, err := object(metadata)
	if err != nil {
		return err
	}
	if err := phrase(card, "name", 1, 100); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		form *regexp.Regexp
	}{{"phoneNumber", contactPhone}, {"userId", contactID}} {
		text, ok := card[f.name].(string)
		if card[f.name] != nil && (!ok || !f.form.MatchString(text)) {
			return api.Invalid("metadata."+f.name, "expected a phone number or an id")
		}
	}
	return nil
}

func object(metadata json.RawMessage) (map[string]any, error) {
	var fields map[string]any
	if json.Unmarshal(metadata, &fields) != nil || fields == nil {
		return nil, api.Invalid("metadata", "expected an object")
	}
	return fields, nil
}

// number checks a field that must be there, between -most and most. JSON has neither infinity nor NaN.
func number(fields map[string]any, name string, most float64) error {
	value, ok := fields[name].(float64)
	if !ok || value < -most || value > most {
		return api.Invalid("metadata."+name, fmt.Sprintf("expected a number from %g to %g", -most, most))
	}
	return nil
}

// phrase checks a text of least to most characters; when least is 0 it may be absent or null.
func phrase(fields map[string]any, name string, least, most int) error {
	value, ok := fields[name].(string)
	if fields[name] == nil && least == 0 {
		return nil
	}
	if length := utf8.RuneCountInString(strings.TrimSpace(value)); !ok || length < least || utf8.RuneCountInString(value) > most {
		return api.Invalid("metadata."+name, fmt.Sprintf("expected %d to %d characters", least, most))
	}
	return nil
}
