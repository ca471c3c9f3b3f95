package umt5

import (
	"cmp"
	"slices"

	"golang.org/x/text/unicode/norm"
)

// composeNFC brings text to Unicode normalization form C. x/text does that in its stream-safe variant, which puts a
// U+034F into every run of more than 30 combining marks; Python does not, so text with a long run takes composeSlowly.
func composeNFC(text []rune) []rune {
	const safeRun = 6 // marks in a row; each decomposes into at most four
	run, low := 0, true
	for _, r := range text {
		if r < firstMark {
			run = 0
			continue
		}
		low = false
		if norm.NFD.PropertiesString(string(r)).LeadCCC() == 0 { // not CCC: U+0F73 is a starter that decomposes into marks
			run = 0
		} else if run++; run > safeRun {
			return composeSlowly(text)
		}
	}
	if low {
		return text
	}
	return []rune(norm.NFC.String(string(text)))
}

// firstMark is the first combining mark; characters before it are in form C.
const firstMark = 0x300

func combiningClass(r rune) uint8 {
	if r < firstMark {
		return 0
	}
	return norm.NFD.PropertiesString(string(r)).CCC()
}

// composeSlowly is the canonical composition algorithm (Unicode 15, D117) by the letter, with x/text as its tables.
func composeSlowly(text []rune) []rune {
	var chars []rune
	for _, r := range text {
		chars = append(chars, []rune(norm.NFD.String(string(r)))...)
	}
	sortMarks(chars)

	out := chars[:0]
	starter := -1    // where in out the last starter is
	last := uint8(0) // combining class of the last character kept after it
	for _, r := range chars {
		class := combiningClass(r)
		adjacent := starter == len(out)-1
		if starter >= 0 && (adjacent || last < class) {
			if composite, ok := composePair(out[starter], r); ok {
				out[starter] = composite
				continue
			}
		}
		if class == 0 {
			starter = len(out)
		}
		last = class
		out = append(out, r)
	}
	return out
}

// sortMarks puts every run of combining marks into canonical order.
func sortMarks(chars []rune) {
	for i := 0; i < len(chars); {
		if combiningClass(chars[i]) == 0 {
			i++
			continue
		}
		end := i + 1
		for end < len(chars) && combiningClass(chars[end]) != 0 {
			end++
		}
		slices.SortStableFunc(chars[i:end], func(a, b rune) int { return cmp.Compare(combiningClass(a), combiningClass(b)) })
		i = end
	}
}

// composePair returns the primary composite of a and b, if there is one.
func composePair(a, b rune) (rune, bool) {
	c := []rune(norm.NFC.String(string([]rune{a, b})))
	return c[0], len(c) == 1
}
