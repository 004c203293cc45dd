package search

import (
	"database/sql"
	"slices"
	"strings"
)

// document is a message as the index keeps it.
type document struct {
	messageID, conversationID, senderID, typ string
	n, created                               int64
	kinds                                    string // tags, separated by spaces
	text                                     string // tokens, separated by spaces
}

// tagMark begins the tags of a document. No token of a text has it.
const tagMark = "\u0080"

// The tags of the index: a letter and what it stands for, in letters and digits.
func conversationTag(id string) string { return tagMark + "c" + id }

func senderTag(id string) string { return tagMark + "u" + id }

func mentionTag(id string) string { return tagMark + "m" + id }

func typeTag(name string) string { return tagMark + "t" + name }

func kindTag(name string) string { return tagMark + "k" + name }

// indexed is what the table word holds of the document.
func (d *document) indexed() string {
	var b strings.Builder
	b.Grow(len(d.text) + 64)
	b.WriteString(d.text)
	b.WriteString(" " + conversationTag(d.conversationID) + " " + senderTag(d.senderID))
	if d.typ != "text" {
		b.WriteString(" " + typeTag(d.typ))
	}
	if d.kinds != "" {
		b.WriteString(" " + d.kinds)
	}
	return b.String()
}

// searchable is what holds of a message x that the index has; its parameter is the time. Notices are nobody's words.
const searchable = "x.type <> 'system' AND x.state = 'visible' AND x.deleted_at IS NULL AND (x.expires_at IS NULL OR x.expires_at > ?)"

// documentColumns are what scanDocument reads, of the table message under the alias x.
const documentColumns = `x.id, x.conversation_id, x.sender_id, x.type, x.n, x.created_at, x.content, x.reply_to_id IS NOT NULL,
	CASE WHEN instr(x.content, '@') > 0 THEN (SELECT group_concat(m.user_id, ' ') FROM mention m WHERE m.message_id = x.id) END,
	(SELECT group_concat(u.kind || ' ' || u.original_name, char(10)) FROM attachment a JOIN upload u ON u.id = a.upload_id WHERE a.message_id = x.id),
	CASE WHEN x.attached > 0 THEN (SELECT group_concat(t.text, char(10)) FROM attachment a JOIN transcript t ON t.upload_id = a.upload_id WHERE a.message_id = x.id) END`

// scanDocument reads documentColumns after the columns that more takes; nil where there is no message.
func scanDocument(rows *sql.Rows, more ...any) (*document, error) {
	var id, conversation, sender, typ, content, mentions, files, said sql.NullString
	var n, created sql.NullInt64
	var reply sql.NullBool
	if err := rows.Scan(append(more, &id, &conversation, &sender, &typ, &n, &created, &content, &reply, &mentions, &files, &said)...); err != nil || !id.Valid {
		return nil, err
	}
	d := &document{messageID: id.String, conversationID: conversation.String, senderID: sender.String, typ: typ.String, n: n.Int64, created: created.Int64}
	if said.Valid {
		content.String = strings.TrimPrefix(content.String+"\n"+said.String, "\n")
	}
	d.describe(content.String, reply.Bool, strings.Fields(mentions.String), files.String)
	return d, nil
}

// describe makes the text and the kinds of a document.
func (d *document) describe(content string, reply bool, mentioned []string, files string) {
	var kinds []string
	add := func(tag string) {
		if !slices.Contains(kinds, tag) {
			kinds = append(kinds, tag)
		}
	}
	var text strings.Builder
	write := func(s string) {
		tokenize(s, func(t token) {
			if text.Len() > 0 {
				text.WriteByte(' ')
			}
			text.WriteString(t.text)
		})
	}
	write(content)
	for line := range strings.SplitSeq(files, "\n") { // a kind and a name each
		if kind, name, ok := strings.Cut(line, " "); ok && slices.Contains(messageTypes, kind) {
			add(kindTag("attachment"))
			add(kindTag(kind))
			write(name)
		}
	}
	if hasLink(content) {
		add(kindTag("link"))
	}
	if d.typ != "text" {
		add(kindTag(d.typ))
	}
	if reply {
		add(kindTag("reply"))
	}
	for _, id := range mentioned {
		add(kindTag("mention"))
		add(mentionTag(id))
	}
	d.text, d.kinds = text.String(), strings.Join(kinds, " ")
}

// hasLink reports whether there is something that clients make a link of: scheme://something, or www.something.
func hasLink(text string) bool {
	for rest := text; ; {
		i := strings.Index(rest, "://")
		if i < 0 {
			break
		}
		if i > 0 && isASCIILetter(rest[i-1]) && i+3 < len(rest) && rest[i+3] > ' ' {
			return true
		}
		rest = rest[i+3:]
	}
	for rest := text; ; {
		i := strings.IndexByte(rest, '.')
		if i < 0 {
			return false
		}
		if i >= 3 && strings.EqualFold(rest[i-3:i], "www") && (i == 3 || !isASCIILetter(rest[i-4])) && i+1 < len(rest) && rest[i+1] > ' ' {
			return true
		}
		rest = rest[i+1:]
	}
}

func isASCIILetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
