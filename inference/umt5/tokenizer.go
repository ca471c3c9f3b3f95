package umt5

import (
	"iter"
	"strings"
	"unicode/utf8"
)

// MaxTokens is the most ids that Encode returns, the closing </s> included: the text length that HuMo was trained with.
const MaxTokens = 512

// metaspace stands for a space in pieces, and starts every word.
const metaspace = "▁"

// Tokenizer turns text into ids of a SentencePiece unigram vocabulary, by the rules of a tokenizer.json (spec §3.3).
// It does not change after OpenTokenizer and may be used by several goroutines at once.
type Tokenizer struct {
	model unigram
	added vocabulary // tokens that are cut out of the text before anything else
	end   int32      // id of </s>
}

// Encode returns the ids of text with </s> at the end, at most MaxTokens of them and not padded, and how many there
// would be without that limit. The text should be clean (Clean); bytes that are not UTF-8 count as U+FFFD.
func (t *Tokenizer) Encode(text string) (ids []int32, untruncated int) {
	text = strings.ToValidUTF8(text, "\ufffd")
	for len(text) > 0 {
		start, length, id := t.findAdded(text)
		for word := range words(text[:start]) {
			ids = t.model.appendWord(ids, word)
		}
		if length > 0 {
			ids = append(ids, id)
		}
		text = text[start+length:]
	}
	untruncated = len(ids) + 1
	if len(ids) >= MaxTokens {
		ids = ids[:MaxTokens-1]
	}
	return append(ids, t.end), untruncated
}

// findAdded returns the leftmost, and there the longest, added token in text. Without one, start is the end of text.
func (t *Tokenizer) findAdded(text string) (start, length int, id int32) {
	for start = range len(text) {
		for n, found := range t.added.prefixes(text[start:]) {
			length, id = n, found
		}
		if length > 0 {
			return start, length, id
		}
	}
	return len(text), 0, 0
}

// words normalizes a stretch of text between added tokens and cuts it into words: runs of spaces become one, spaces
// become ▁, there is one at the start, and each begins a word.
func words(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if text == "" {
			return
		}
		text = strings.ReplaceAll(singleSpaces(text), " ", metaspace)
		if !strings.HasPrefix(text, metaspace) {
			text = metaspace + text
		}
		for text != "" {
			end := len(text)
			if n := strings.Index(text[len(metaspace):], metaspace); n >= 0 {
				end = len(metaspace) + n
			}
			if !yield(text[:end]) {
				return
			}
			text = text[end:]
		}
	}
}

// singleSpaces replaces every run of spaces by one.
func singleSpaces(text string) string {
	if !strings.Contains(text, "  ") {
		return text
	}
	var b strings.Builder
	for i := range len(text) {
		if text[i] != ' ' || i == 0 || text[i-1] != ' ' {
			b.WriteByte(text[i])
		}
	}
	return b.String()
}

// unigram is the model of Kudo (2018): a word is cut into the pieces with the highest sum of scores, which are
// logarithms of probabilities.
type unigram struct {
	pieces  vocabulary
	scores  []float64 // by id
	unknown int32     // id for characters that no piece covers
	penalty float64   // score of such a character
}

// unknownPenalty is how much worse than the worst piece an unknown character is.
const unknownPenalty = 10

// appendWord appends the ids of word by Viterbi search in double precision. Of equally good ways the first found stays;
// unknown characters in a row make one id.
func (m *unigram) appendWord(ids []int32, word string) []int32 {
	type node struct { // the best way to end at a byte of word
		score float64
		start int // where its last piece starts
		id    int32
	}
	best := make([]node, len(word)+1)
	for i := range best {
		best[i].start = -1
	}
	for start := 0; start < len(word); {
		here := best[start].score
		offer := func(end int, score float64, id int32) {
			if n := &best[end]; n.start < 0 || here+score > n.score {
				*n = node{here + score, start, id}
			}
		}
		_, size := utf8.DecodeRuneInString(word[start:])
		covered := false
		for n, id := range m.pieces.prefixes(word[start:]) {
			offer(start+n, m.scores[id], id)
			covered = covered || n == size
		}
		if !covered {
			offer(start+size, m.penalty, m.unknown)
		}
		start += size
	}

	var backwards []int32
	for end := len(word); end > 0; end = best[end].start {
		id := best[end].id
		if n := len(backwards); id == m.unknown && n > 0 && backwards[n-1] == m.unknown {
			continue
		}
		backwards = append(backwards, id)
	}
	for i := len(backwards) - 1; i >= 0; i-- {
		ids = append(ids, backwards[i])
	}
	return ids
}
