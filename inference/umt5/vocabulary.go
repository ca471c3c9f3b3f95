package umt5

import (
	"cmp"
	"iter"
	"slices"
	"sort"
	"strings"
)

// vocabulary finds the pieces that a text starts with. It is a trie that needs no nodes: in the sorted list of pieces,
// those that share a prefix are neighbours, and those that share one byte more are a narrower range.
type vocabulary struct {
	sorted []string
	ids    []int32    // of the piece at the same place in sorted
	first  [257]int32 // where in sorted the pieces start that begin with a byte, or with a later one
}

// newVocabulary gives piece i the id ids[i]. Of equal pieces the last one counts; empty ones never match.
func newVocabulary(pieces []string, ids []int32) vocabulary {
	order := make([]int32, 0, len(pieces))
	for i, p := range pieces {
		if p != "" {
			order = append(order, int32(i))
		}
	}
	slices.SortFunc(order, func(a, b int32) int { return cmp.Or(strings.Compare(pieces[a], pieces[b]), int(a-b)) })

	var v vocabulary
	for k, i := range order {
		if k+1 < len(order) && pieces[i] == pieces[order[k+1]] {
			continue
		}
		v.sorted = append(v.sorted, pieces[i])
		v.ids = append(v.ids, ids[i])
	}
	for b := range v.first {
		v.first[b] = int32(sort.Search(len(v.sorted), func(i int) bool { return int(v.sorted[i][0]) >= b }))
	}
	return v
}

// prefixes yields the length in bytes and the id of every piece that text starts with, the shortest first.
func (v *vocabulary) prefixes(text string) iter.Seq2[int, int32] {
	return func(yield func(int, int32) bool) {
		if text == "" {
			return
		}
		low, high := int(v.first[text[0]]), int(v.first[int(text[0])+1])
		for n := 1; low < high; n++ { // sorted[low:high] are the pieces that start with text[:n]
			if len(v.sorted[low]) == n {
				if !yield(n, v.ids[low]) {
					return
				}
				low++
			}
			if n == len(text) {
				return
			}
			next := text[n]
			low += sort.Search(high-low, func(i int) bool { return v.sorted[low+i][n] >= next })
			high = low + sort.Search(high-low, func(i int) bool { return v.sorted[low+i][n] > next })
		}
	}
}
