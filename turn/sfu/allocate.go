package sfu

import "slices"

// want is one video that a subscriber would like, for allocate.
type want struct {
	rates  [layerCount]int64 // bit/s of each layer now; 0 where it does not run
	top    int               // the best layer that the view needs
	now    int               // the layer that runs now, or -1
	first  bool              // before the others: a screen, the one who speaks
	chosen int               // the answer: a layer, or -1 for a pause
}

// What must fit before more is sent than now, in percent of its rate, so that nothing swings to and fro.
const (
	marginUp     = 115
	marginResume = 125
)

// cost is what a layer takes from the budget.
func (w *want) cost(layer int) int64 {
	switch {
	case layer < 0:
		return 0
	case w.now < 0:
		return w.rates[layer] * marginResume / 100
	case layer > w.now:
		return w.rates[layer] * marginUp / 100
	}
	return w.rates[layer]
}

// step is the next layer above one that runs and is still wanted, or -1.
func (w *want) step(layer int) int {
	for l := layer + 1; l <= w.top && l < layerCount; l++ {
		if w.rates[l] > 0 {
			return l
		}
	}
	return -1
}

// allocate divides a budget in bit/s: everybody gets the lowest layer before anybody gets a better one, and in each round the
// first ones come first. It returns what the smallest step that did not fit would have needed in all, or 0 when everything
// wanted is there.
func allocate(budget int64, wants []*want) (short int64) {
	slices.SortStableFunc(wants, func(a, b *want) int {
		switch {
		case a.first && !b.first:
			return -1
		case b.first && !a.first:
			return 1
		}
		return 0
	})
	used := int64(0)
	for _, w := range wants {
		w.chosen = -1
	}
	for {
		moved := false
		for _, w := range wants {
			next := w.step(w.chosen)
			if next < 0 {
				continue
			}
			if more := w.cost(next) - w.cost(w.chosen); used+more <= budget {
				w.chosen, used, moved = next, used+more, true
			}
		}
		if !moved {
			break
		}
	}
	for _, w := range wants {
		if next := w.step(w.chosen); next >= 0 {
			if need := used + w.cost(next) - w.cost(w.chosen); short == 0 || need < short {
				short = need
			}
		}
	}
	return short
}
