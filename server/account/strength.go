package account

import (
	"context"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/quckchat/quckchat/server/api"
)

// StrengthInput is the body of POST /auth/password/strength.
type StrengthInput struct {
	Body struct {
		Password string `json:"password" maxLength:"200"`
	}
}

// Strength says how good a password is, in eight points, and what would make it better. It knows nothing but the password:
// nothing is stored or asked elsewhere.
type Strength struct {
	Score    int      `json:"score" minimum:"0" maximum:"8"`
	Strength string   `json:"strength" enum:"weak,fair,good,strong,very_strong"`
	Feedback []string `json:"feedback" nullable:"false"`
}

// PasswordStrength measures a password before somebody settles on it.
func (s *Service) PasswordStrength(_ context.Context, by api.Caller, in *StrengthInput) (Strength, error) {
	score, advice := measure(in.Body.Password)
	out := Strength{Score: score, Feedback: []string{}}
	out.Strength = [...]string{"weak", "weak", "weak", "fair", "fair", "good", "good", "strong", "very_strong"}[score]
	language := 0
	if strings.HasPrefix(strings.ToLower(by.Locale), "es") {
		language = 1
	}
	for _, a := range advice {
		out.Feedback = append(out.Feedback, adviceTexts[a][language])
	}
	return out, nil
}

// advice is something that would make a password better.
type advice int

const (
	longer advice = iota
	shorter
	addLower
	addUpper
	addDigit
	addSpecial
	avoidCommon
	avoidRuns
)

var adviceTexts = [...][2]string{
	longer:      {"Make it longer: 12 characters or more.", "Hágala más larga: 12 caracteres o más."},
	shorter:     {"Make it shorter: at most 128 characters.", "Hágala más corta: como máximo 128 caracteres."},
	addLower:    {"Add a lower-case letter.", "Añada una letra minúscula."},
	addUpper:    {"Add a capital letter.", "Añada una letra mayúscula."},
	addDigit:    {"Add a digit.", "Añada un número."},
	addSpecial:  {"Add a special character, such as @$!%*?&.", "Añada un carácter especial, como @$!%*?&."},
	avoidCommon: {"Avoid common words such as “password”.", "Evite palabras comunes como «password»."},
	avoidRuns:   {"Avoid repetitions and sequences such as aaaa or 1234.", "Evite repeticiones y secuencias como aaaa o 1234."},
}

// Points that a password cannot exceed: with a common word or little else than runs, and while it would be refused.
const (
	mostCommon  = 2
	mostRefused = 4
)

// measure gives a point for each of three lengths and four kinds of characters, and one for having neither common words
// nor runs. What strongPassword refuses is fair at best.
func measure(password string) (score int, list []advice) {
	length := utf8.RuneCountInString(password)
	for _, n := range []int{8, 12, longPassphrase} {
		if length >= n {
			score++
		}
	}
	if length < 12 {
		list = append(list, longer)
	}
	if length > passwordMax {
		list = append(list, shorter)
	}
	kinds := kindsOf(password)
	for i, there := range kinds {
		if there {
			score++
		} else if length < longPassphrase {
			list = append(list, addLower+advice(i))
		}
	}
	common, runs := commonWord(password) != "", running(password)
	if common {
		list = append(list, avoidCommon)
	}
	if runs*2 >= length && length > 0 || runs >= 4 {
		list = append(list, avoidRuns)
	}
	if !common && runs < 4 && length >= 8 {
		score++
	}
	if strongPassword(password) != nil {
		score = min(score, mostRefused)
	}
	if common || runs*2 >= length {
		score = min(score, mostCommon)
	}
	return score, list
}

// kindsOf reports whether there are lower-case letters, capitals, digits and special characters.
func kindsOf(password string) (kinds [4]bool) {
	for _, r := range password {
		switch {
		case unicode.IsLower(r):
			kinds[0] = true
		case unicode.IsUpper(r):
			kinds[1] = true
		case unicode.IsDigit(r):
			kinds[2] = true
		case !unicode.IsLetter(r):
			kinds[3] = true
		}
	}
	return kinds
}

// running counts the characters in runs of four and more that repeat or follow each other, as in aaaa, 1234, dcba.
func running(password string) (total int) {
	runes := []rune(password)
	for i := 0; i < len(runes); {
		end := i + 1
		if end < len(runes) {
			step := runes[end] - runes[i]
			for end < len(runes) && step >= -1 && step <= 1 && runes[end]-runes[end-1] == step {
				end++
			}
		}
		if end-i >= 4 {
			total += end - i
			i = end
		} else {
			i++
		}
	}
	return total
}
