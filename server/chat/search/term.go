package search

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/quckchat/quckchat/storage"
)

// knownMax is how many tokens are remembered to be in the table term: most words of a message are.
const knownMax = 1 << 16

var knownSeed = maphash.MakeSeed()

// learn adds the tokens of a text to the table of terms, where they are new.
func (b *batch) learn(text string) error {
	for t := range strings.FieldsSeq(text) {
		h := maphash.String(knownSeed, t)
		if _, ok := b.known[h]; ok {
			continue
		}
		result, err := b.tx.Exec("INSERT INTO term (text) VALUES (?) ON CONFLICT (text) DO NOTHING", t)
		if err != nil {
			return err
		}
		added, err := result.RowsAffected()
		if err != nil {
			return err
		}
		if added > 0 && utf8.RuneCountInString(t) >= gramSize {
			id, err := result.LastInsertId()
			if err != nil {
				return err
			}
			if _, err := b.tx.Exec("INSERT INTO gram (rowid, text) VALUES (?, ?)", id, t); err != nil {
				return err
			}
		}
		b.tx.OnCommit(func() {
			if len(b.known) >= knownMax {
				clear(b.known)
			}
			b.known[h] = struct{}{}
		})
	}
	return nil
}

// forget removes terms that no document has any more: what was deleted must not be readable in the list of words.
func (b *batch) forget() error {
	for text := range b.gone {
		var used bool
		if err := b.tx.QueryRow("SELECT EXISTS (SELECT 1 FROM word WHERE word MATCH ?)", `"`+text+`"`).Scan(&used); err != nil || used {
			if err != nil {
				return err
			}
			continue
		}
		var id int64
		err := b.tx.QueryRow("SELECT id FROM term WHERE text = ?", text).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return err
		}
		if utf8.RuneCountInString(text) >= gramSize {
			if _, err := b.tx.Exec("INSERT INTO gram (gram, rowid, text) VALUES ('delete', ?, ?)", id, text); err != nil {
				return err
			}
		}
		if _, err := b.tx.Exec("DELETE FROM term WHERE id = ?", id); err != nil {
			return err
		}
		delete(b.known, maphash.String(knownSeed, text)) // also when this write fails: it is learned again
	}
	return nil
}

// gramSize is the least number of characters that are searched for inside of words.
const gramSize = 3

// term is a token of the index. Rarer ones have higher ids, about.
type term struct {
	id   int64
	text string
}

// candidates is how many terms are looked at for one word of a search. (As a parameter it makes SQLite prepare the
// statement again whenever it runs.)
const candidates = " LIMIT 1000"

// expand returns terms for a part of a word: those that contain it, or, when it is short or begin is set, that begin
// with it. It comes first itself, then what begins with it, then what was used early, which is what is common.
func expand(v storage.View, part string, begin bool, most int) ([]term, error) {
	begin = begin || utf8.RuneCountInString(part) < gramSize
	statement, args := "SELECT id, text FROM term WHERE text >= ? AND text < ?"+candidates, []any{part, part + "\U0010FFFF"}
	if runes := []rune(part); len(runes) >= gramSize {
		var match strings.Builder
		for i := range len(runes) - gramSize + 1 {
			match.WriteString(` "` + string(runes[i:i+gramSize]) + `"`)
		}
		last := wordMax
		if begin {
			last = 1
		}
		statement = "SELECT t.id, t.text FROM gram CROSS JOIN term t ON t.id = gram.rowid WHERE gram MATCH ? AND instr(t.text, ?) BETWEEN 1 AND ?" + candidates
		args = []any{match.String(), part, last}
	}
	rows, err := v.Query(statement, args...)
	if err != nil {
		return nil, fmt.Errorf("look up words: %w", err)
	}
	defer rows.Close()
	var list []term
	for rows.Next() {
		var t term
		if err := rows.Scan(&t.id, &t.text); err != nil {
			return nil, fmt.Errorf("look up words: %w", err)
		}
		list = append(list, t)
	}
	rank := func(t term) int {
		switch {
		case t.text == part:
			return 0
		case strings.HasPrefix(t.text, part):
			return 1
		}
		return 2
	}
	slices.SortFunc(list, func(a, b term) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.id, b.id)) })
	return list[:min(len(list), most)], rows.Err()
}
