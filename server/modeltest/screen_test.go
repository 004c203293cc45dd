package modeltest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// screen is what somebody sees, whoever says so: the model, the server's lists, or a device by what it heard. It is
// compared as text, line by line.
type screen struct {
	cards   []card
	blocked []string

	hidesReads, hidesSeen bool
}

// card is a conversation on a screen.
type card struct {
	id, kind, name, about string
	last, lastAt          string
	unread, called        int
	muted, pinned         bool
	archived              bool
	timer                 time.Duration
	pins                  []string
	people                []face
	messages              []bubble
}

// face is a member, with the last message they have read.
type face struct{ id, role, read string }

// bubble is a message on a screen; quote is what it replies to, as far as that is shown.
type bubble struct {
	id, by, text, clientID string
	n                      int
	reply, quote           string
	edited                 bool
	createdAt, editedAt    string
	reactions, calls       []string
	readBy                 []string
}

// tombstone is what is quoted of a deleted message.
const tombstone = "(deleted)"

// notice is what a message about a group says, in no language.
func notice(action, by string, about []string, name string) string {
	return fmt.Sprintf("(%s by %s: %s%s)", action, by, strings.Join(about, " "), name)
}

// sorted puts the liveliest conversation first, as the list has it.
func (s screen) sorted() screen {
	slices.Sort(s.blocked)
	slices.SortFunc(s.cards, func(a, b card) int { return cmp.Or(cmp.Compare(b.lastAt, a.lastAt), cmp.Compare(b.id, a.id)) })
	return s
}

func (s screen) lines() (list []string) {
	list = append(list, fmt.Sprintf("blocks %v, hides reading %v, presence %v", s.blocked, s.hidesReads, s.hidesSeen))
	for _, c := range s.cards {
		list = append(list, fmt.Sprintf("%s %s %q %q, %d unread, %d that call, last %s at %s", c.kind, c.id, c.name, c.about, c.unread, c.called, c.last, c.lastAt))
		list = append(list, fmt.Sprintf("  %s muted %v, pinned %v, archived %v, pins %v, timer %v", c.id, c.muted, c.pinned, c.archived, c.pins, c.timer))
		for _, f := range c.people {
			list = append(list, fmt.Sprintf("  %s %s %s has read to %s", c.id, f.role, f.id, f.read))
		}
		for _, b := range c.messages {
			line := fmt.Sprintf("  %s #%d %s %s %q key %q at %s", c.id, b.n, b.id, b.by, b.text, b.clientID, b.createdAt)
			if b.edited {
				line += " edited " + b.editedAt
			}
			if b.reply != "" {
				line += fmt.Sprintf(" re %s %q", b.reply, b.quote)
			}
			if len(b.calls) > 0 {
				line += " calls " + strings.Join(b.calls, " ")
			}
			if len(b.reactions) > 0 {
				line += " " + strings.Join(b.reactions, " ")
			}
			if len(b.readBy) > 0 {
				line += " read by " + strings.Join(b.readBy, " ")
			}
			list = append(list, line)
		}
	}
	return list
}

// differ lists the lines that only one of two screens has.
func differ(wanted, got []string) string {
	if slices.Equal(wanted, got) {
		return ""
	}
	var b strings.Builder
	only := func(sign string, of, other []string) {
		for _, line := range of {
			if !slices.Contains(other, line) {
				fmt.Fprintln(&b, sign, line)
			}
		}
	}
	only("  must show ", wanted, got)
	only("  but shows ", got, wanted)
	if b.Len() == 0 {
		fmt.Fprintln(&b, "  in this order:", strings.Join(wanted, "\n    "), "\n  and not in this:", strings.Join(got, "\n    "))
	}
	return b.String()
}
