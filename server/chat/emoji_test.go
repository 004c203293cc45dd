package chat

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestOneEmojiIsOneWhateverItIsMadeOf(t *testing.T) {
	for _, one := range strings.Fields("👍 👍🏿 ❤ ❤️ ❤︎ 😂 🇪🇸 🏴󠁧󠁢󠁥󠁮󠁧󠁿 👩‍❤️‍💋‍👨 👩🏻‍❤️‍💋‍👩🏿 👨‍👩‍👧‍👦 🧑🏽‍🚀 #️⃣ 1⃣ *️⃣ © ™️ ☕ ⌚ 🫠 🪿 🏳️‍🌈 🏴‍☠️ 🏽 ㊗️ ‼️ ↔️ :thumbsup: :+1: :a_b-C:") {
		if !isEmoji(one) {
			t.Errorf("%q is none", one)
		}
	}
	none := []string{
		"", " ", "a", "1", "#", "👍👍", "👍 ", " 👍", "👍a", "\ufe0f", "\u200d", "👍\u200d", "\u200d👍", "👩\u200d\u200d👩", "👍🏿🏿", "❤️️", "🇪", "🇪🇸🇫", "🇪🇸🇫🇷", "1️",
		"a\ufe0f\u20e3", "12\u20e3", "::", ":a b:", ":a:b:", ":" + strings.Repeat("a", 33) + ":", ":ñ:", "\xff", "👍\xff", "👍\x00", "👍\u0301", "é", "ñ", "中", "🏴\U000E0067",
		"👍\U000E007F", "<b>", strings.Repeat("👩\u200d", 12) + "👩", "\u202e👍", "\u2066:a:",
	}
	for _, text := range none {
		if isEmoji(text) {
			t.Errorf("%q is one", text)
		}
	}
}

func FuzzEmoji(f *testing.F) {
	for _, seed := range []string{"👍🏿", "👨‍👩‍👧‍👦", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🇪🇸", "1️⃣", ":a:", "\u200d\u200d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !isEmoji(text) {
			return
		}
		if len(text) > emojiMax || !utf8.ValidString(text) || strings.ContainsAny(text, " \n\t<>&\"'/\\\x00") {
			t.Errorf("%q", text)
		}
		if isEmoji(text+text) && !strings.HasPrefix(text, ":") {
			t.Errorf("%q twice is one emoji", text)
		}
	})
}
