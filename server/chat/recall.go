package chat

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// RecallInput is what somebody remembers of a conversation, in their own words; both spellings are known.
type RecallInput struct {
	Query string `query:"query" maxLength:"256"`
	Q     string `query:"q" maxLength:"256"`
}

// RecalledConversation is a conversation that fits.
type RecalledConversation struct {
	*Conversation
	Relevance   float64 `json:"relevance"`   // above 0, at most 1
	MessageHits int     `json:"messageHits"` // messages with words of the query, among the newest with each
}

// Recalled is the answer, what fits best first.
type Recalled struct {
	Results []RecalledConversation `json:"results"`
	Count   int                    `json:"count"`
}

const (
	recallWords   = 6     // of the query: the longest
	recallHits    = 100   // messages looked at for each word
	recallNames   = 20000 // people looked at
	recallResults = 20
)

// What a word of the query weighs where it is found. Many messages weigh more than one, and never as much as a name.
const (
	foundInName     = 1.0
	foundInPerson   = 0.9
	foundInAbout    = 0.7
	foundInTogether = 0.6 // in a message with all the other words
	foundInMessages = 0.5
)

// candidate is a conversation and how far each word of the query is found in it, from 0 to 1.
type candidate struct {
	id, name, about string
	found           []float64
	hits            int
	relevance       float64
}

func (c *candidate) note(word int, weight float64) { c.found[word] = max(c.found[word], weight) }

// Recall finds those of the caller's conversations that a question is about, archived ones too: by their names, by who
// is in them, and by what was said. Everything happens on this server, with the index of words. Not all words need to
// be found; those found everywhere say little, and what fits less than half as well as the best is left out.
func (s *Service) Recall(ctx context.Context, by api.Caller, in *RecallInput) (*Recalled, error) {
	out := &Recalled{Results: []RecalledConversation{}}
	words := recallable(in.Query)
	if len(words) == 0 {
		words = recallable(in.Q)
	}
	if len(words) == 0 {
		return out, nil
	}
	said, err := s.recallMessages(ctx, by, words)
	if err != nil {
		return nil, err
	}
	err = s.db.Read(ctx, func(v storage.View) error { // who is where is decided here, after the index was asked
		list, err := candidates(v, by, words)
		if err != nil {
			return err
		}
		if err := recallPeople(v, by, words, list); err != nil {
			return err
		}
		list = rank(list, said)
		ids := make([]string, len(list))
		for i, c := range list {
			ids[i] = c.id
		}
		found, err := conversations(v, by.UserID, ids)
		for _, c := range list {
			if whole := found[c.id]; whole != nil {
				out.Results = append(out.Results, RecalledConversation{whole, math.Round(c.relevance*1000) / 1000, c.hits})
			}
		}
		return err
	})
	out.Count = len(out.Results)
	return out, err
}

// recallable returns the words of a question that are looked for.
func recallable(text string) []string {
	words := distinct(strings.Fields(plain(text)))
	slices.SortStableFunc(words, func(a, b string) int { return cmp.Compare(utf8.RuneCountInString(b), utf8.RuneCountInString(a)) })
	return words[:min(len(words), recallWords)]
}

// plain is a text as words are looked for in it: one space before each, in lower case.
func plain(text string) string {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.IsMark(r) })
	return " " + strings.Join(words, " ")
}

// rank keeps what fits, the best first; among equals the liveliest, which is the order given. A word tells the less, the
// more often it was said.
func rank(list []*candidate, said spoken) []*candidate {
	total, best := 0.0, 0.0
	for _, count := range said.counts {
		total += rarity(count)
	}
	for _, c := range list {
		for i, hits := range said.words {
			if n := hits[c.id]; n > 0 {
				c.note(i, foundInMessages*float64(n+1)/float64(n+2))
				c.hits += n
			}
			if said.together[c.id] > 0 {
				c.note(i, foundInTogether)
			}
			c.relevance += c.found[i] * rarity(said.counts[i]) / total
		}
		best = max(best, c.relevance)
	}
	list = slices.DeleteFunc(list, func(c *candidate) bool { return c.relevance == 0 || c.relevance < best/2 })
	slices.SortStableFunc(list, func(a, b *candidate) int { return cmp.Compare(b.relevance, a.relevance) })
	return list[:min(len(list), recallResults)]
}

func rarity(count int) float64 { return 1 / (1 + math.Log1p(float64(count))) }

// candidates are the caller's conversations, the liveliest first, with the words that their names have.
func candidates(q storage.Querier, by api.Caller, words []string) ([]*candidate, error) {
	rows, err := q.Query(`SELECT c.id, coalesce(c.name, ''), coalesce(c.description, '') FROM member m JOIN conversation c ON c.id = m.conversation_id
		WHERE m.user_id = ? AND m.left_seq IS NULL AND m.hidden_n < c.last_n AND c.deleted_at IS NULL ORDER BY c.last_message_at DESC, c.id DESC`, by.UserID)
	if err != nil {
		return nil, fmt.Errorf("list conversations to recall: %w", err)
	}
	defer rows.Close()
	var list []*candidate
	for rows.Next() {
		c := &candidate{found: make([]float64, len(words))}
		if err := rows.Scan(&c.id, &c.name, &c.about); err != nil {
			return nil, fmt.Errorf("list conversations to recall: %w", err)
		}
		name, about := plain(c.name), plain(c.about)
		for i, word := range words {
			switch {
			case strings.Contains(name, " "+word):
				c.note(i, foundInName)
			case strings.Contains(about, " "+word):
				c.note(i, foundInAbout)
			}
		}
		list = append(list, c)
	}
	return list, rows.Err()
}

// recallPeople notes the words that the names of the other members have.
func recallPeople(q storage.Querier, by api.Caller, words []string, list []*candidate) error {
	rows, err := q.Query(`SELECT DISTINCT u.id, u.username, u.display_name FROM member a
		JOIN member b ON b.conversation_id = a.conversation_id AND b.left_seq IS NULL AND b.user_id <> a.user_id
		JOIN user u ON u.id = b.user_id WHERE a.user_id = ? AND a.left_seq IS NULL LIMIT ?`, by.UserID, recallNames)
	if err != nil {
		return fmt.Errorf("recall people: %w", err)
	}
	defer rows.Close()
	called := map[string][]int{} // person -> words of their name
	var ids []string
	for rows.Next() {
		var id, username, name string
		if err := rows.Scan(&id, &username, &name); err != nil {
			return fmt.Errorf("recall people: %w", err)
		}
		names := plain(username) + plain(name)
		for i, word := range words {
			if strings.Contains(names, " "+word) {
				called[id] = append(called[id], i)
			}
		}
		if len(called[id]) > 0 {
			ids = append(ids, id)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	byID := map[string]*candidate{}
	for _, c := range list {
		byID[c.id] = c
	}
	for _, chunk := range storage.Chunks(ids) {
		marks, args := storage.In(chunk)
		rows, err := q.Query(`SELECT b.user_id, b.conversation_id FROM member b JOIN member a ON a.user_id = ? AND a.conversation_id = b.conversation_id AND a.left_seq IS NULL
			WHERE b.left_seq IS NULL AND b.user_id IN (`+marks+")", append([]any{by.UserID}, args...)...)
		if err != nil {
			return fmt.Errorf("recall people: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var person, id string
			if err := rows.Scan(&person, &id); err != nil {
				return fmt.Errorf("recall people: %w", err)
			}
			for _, word := range called[person] {
				if c := byID[id]; c != nil {
					c.note(word, foundInPerson)
				}
			}
		}
		if err := rows.Err(); err != nil {
			return err
		}
	}
	return nil
}

// spoken is what was said with the words of a question.
type spoken struct {
	words    []map[string]int // of each word: conversation -> messages among the newest with it
	counts   []int            // of each word: messages with it
	together map[string]int   // conversation -> messages with all of them
}

// recallMessages asks the index.
func (s *Service) recallMessages(ctx context.Context, by api.Caller, words []string) (said spoken, err error) {
	look := func(text string) (map[string]int, int, error) {
		found, err := s.Find(ctx, by, &FindInput{Q: text, Limit: recallHits})
		if err != nil {
			return nil, 0, err
		}
		hits := map[string]int{}
		for _, m := range found.Messages {
			hits[m.ConversationID]++
		}
		return hits, found.Total, nil
	}
	for _, word := range words {
		hits, count, err := look(word)
		if err != nil {
			return said, err
		}
		said.words, said.counts = append(said.words, hits), append(said.counts, count)
	}
	if len(words) > 1 {
		said.together, _, err = look(strings.Join(words, " "))
	}
	return said, err
}
