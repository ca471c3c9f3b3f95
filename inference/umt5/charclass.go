package umt5

import (
	"slices"
	"unicode"
)

// class is a set of characters: one bracket expression of a pattern. Patterns over bytes use it too, a byte being the
// Latin-1 character of the same number.
type class func(rune) bool

// oneOf returns the class that a bracket expression [spec] stands for: characters, and ranges written a-z.
func oneOf(spec string) class {
	type span struct{ low, high rune }
	var spans []span
	chars := []rune(spec)
	for i := 0; i < len(chars); i++ {
		s := span{chars[i], chars[i]}
		if i+2 < len(chars) && chars[i+1] == '-' {
			s.high = chars[i+2]
			i += 2
		}
		spans = append(spans, s)
	}
	slices.SortFunc(spans, func(a, b span) int { return int(a.low - b.low) })
	merged := spans[:0]
	for _, s := range spans {
		if n := len(merged); n > 0 && s.low <= merged[n-1].high+1 {
			merged[n-1].high = max(merged[n-1].high, s.high)
		} else {
			merged = append(merged, s)
		}
	}
	return func(r rune) bool {
		low, high := 0, len(merged)
		for low < high {
			mid := (low + high) / 2
			switch {
			case r < merged[mid].low:
				high = mid
			case r > merged[mid].high:
				low = mid + 1
			default:
				return true
			}
		}
		return false
	}
}

// noneOf is the bracket expression [^spec].
func noneOf(spec string) class {
	in := oneOf(spec)
	return func(r rune) bool { return !in(r) }
}

// sequence is one alternative of a pattern: a class for each place.
type sequence []class

// pattern is a list of alternatives; like a backtracking regular expression it takes the first that fits.
type pattern []sequence

// literal returns the sequence that matches s itself.
func literal(s string) sequence {
	var seq sequence
	for _, want := range s {
		seq = append(seq, func(r rune) bool { return r == want })
	}
	return seq
}

// matchAt returns how many places p takes at text[i:], or 0 if it does not fit there.
func matchAt[T byte | rune](p pattern, text []T, i int) int {
alternatives:
	for _, seq := range p {
		if len(text)-i < len(seq) {
			continue
		}
		for k, in := range seq {
			if !in(rune(text[i+k])) {
				continue alternatives
			}
		}
		return len(seq)
	}
	return 0
}

// contains tells whether p fits anywhere in text.
func contains[T byte | rune](p pattern, text []T) bool {
	for i := range text {
		if matchAt(p, text, i) > 0 {
			return true
		}
	}
	return false
}

// rewrite replaces every match of p, from left to right and without overlap, by edit(match).
func rewrite[T byte | rune](p pattern, text []T, edit func(match []T) []T) []T {
	out := make([]T, 0, len(text))
	for i := 0; i < len(text); {
		if n := matchAt(p, text, i); n > 0 {
			out = append(out, edit(text[i:i+n])...)
			i += n
		} else {
			out = append(out, text[i])
			i++
		}
	}
	return out
}

// isWhiteSpace is Unicode's White_Space property.
func isWhiteSpace(r rune) bool { return unicode.Is(unicode.White_Space, r) }

// isPythonSpace is Python's str.isspace for one character, which is also what str.strip takes away and what \s means
// in Python's re: White_Space and the four information separators.
func isPythonSpace(r rune) bool { return isWhiteSpace(r) || r >= 0x1c && r <= 0x1f }

// isPythonWord is \w in Python's re: letters, every kind of number, and the underscore, but no combining mark.
func isPythonWord(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r) }
