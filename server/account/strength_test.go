package account

import (
	"strings"
	"testing"

	"github.com/quckchat/quckchat/server/api"
)

func TestStrengthOfPasswords(t *testing.T) {
	s := New(Options{})
	for password, want := range map[string]struct {
		score    int
		strength string
	}{
		"": {0, "weak"}, "a": {1, "weak"}, "aaaaaaaa": {2, "weak"}, "12345678": {2, "weak"}, "Password1!": {2, "weak"}, "abcdefgh": {2, "weak"},
		"kitten": {1, "weak"}, "kittens!": {4, "fair"}, "Kittens7": {4, "fair"}, "Kittens7!": {6, "good"}, "Kittens7!Purr": {7, "strong"},
		"Kittens7!PurrLoud": {8, "very_strong"}, "correct horse battery staple": {6, "good"}, "correcthorsebatterystaple": {5, "good"},
		"aaaaaaaaaaaaaaaaaaaa": {2, "weak"}, "quckchatquckchatquckchat": {2, "weak"}, "Ñandú viaja 7": {7, "strong"},
		"Xy7!" + strings.Repeat("kq", 70): {4, "fair"}, // longer than a password may be
	} {
		got, err := s.PasswordStrength(t.Context(), api.Caller{}, strengthOf(password))
		if err != nil || got.Score != want.score || got.Strength != want.strength {
			t.Errorf("%q: %d %s %v, want %d %s (%v)", password, got.Score, got.Strength, got.Feedback, want.score, want.strength, err)
		}
	}
}

func strengthOf(password string) *StrengthInput {
	in := &StrengthInput{}
	in.Body.Password = password
	return in
}

func TestStrengthAgreesWithWhatIsAccepted(t *testing.T) {
	alphabet := []string{"a", "b", "Z", "7", "!", "ñ", " ", "password", "1234", "kX9#"}
	passwords := []string{""}
	for range 4 {
		for _, p := range passwords {
			for _, part := range alphabet {
				if next := p + part; len(passwords) < 20_000 {
					passwords = append(passwords, next)
				}
			}
		}
	}
	for _, p := range passwords {
		score, advice := measure(p)
		refused := strongPassword(p) != nil
		if score < 0 || score > 8 || refused && score > mostRefused || refused && len(advice) == 0 {
			t.Fatalf("%q: %d points, refused %v, %d pieces of advice", p, score, refused, len(advice))
		}
	}
}

func TestStrengthIsExplainedInTheLanguageOfThePerson(t *testing.T) {
	s := New(Options{})
	for locale, want := range map[string]string{"es-MX": "Añada un número.", "": "Add a digit.", "de": "Add a digit."} {
		got, err := s.PasswordStrength(t.Context(), api.Caller{Locale: locale}, strengthOf("Kittens!"))
		if err != nil || len(got.Feedback) != 2 || got.Feedback[1] != want {
			t.Errorf("%q: %q %v", locale, got.Feedback, err)
		}
	}
	if got, _ := s.PasswordStrength(t.Context(), api.Caller{}, strengthOf("Kittens7!PurrLoud")); got.Feedback == nil || len(got.Feedback) != 0 {
		t.Errorf("nothing to improve: %q", got.Feedback)
	}
}

func TestRunsAreCounted(t *testing.T) {
	for password, want := range map[string]int{"": 0, "aaa": 0, "aaaa": 4, "xaaaax": 4, "1234": 4, "4321": 4, "abcdabcd": 8, "acegik": 0, "aabbccdd": 0, "ab12cd34": 0, "zzzzz9876": 9} {
		if got := running(password); got != want {
			t.Errorf("%q: %d, want %d", password, got, want)
		}
	}
}
