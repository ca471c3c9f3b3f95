package umt5

import (
	"slices"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// translate replaces each character for which to has an entry; a nil entry deletes it.
func translate(text []rune, to func(rune) ([]rune, bool)) []rune {
	out := make([]rune, 0, len(text))
	for _, r := range text {
		if t, ok := to(r); ok {
			out = append(out, t...)
		} else {
			out = append(out, r)
		}
	}
	return out
}

func isC1Control(r rune) bool { return r >= 0x80 && r <= 0x9f }

// fixC1Controls reads C1 controls as the Windows-1252 characters of the same bytes, as browsers do. The five bytes that
// Windows-1252 leaves open stay what they are.
func fixC1Controls(text []rune) []rune {
	return translate(text, func(r rune) ([]rune, bool) {
		if !isC1Control(r) {
			return nil, false
		}
		return []rune{windows1252.decode[r]}, true
	})
}

var latinLigatures = map[rune]string{
	'Ĳ': "IJ", 'ĳ': "ij", // Dutch
	'ŉ': "ʼn",                                                        // Afrikaans
	'Ǳ': "DZ", 'ǲ': "Dz", 'ǳ': "dz", 'Ǆ': "DŽ", 'ǅ': "Dž", 'ǆ': "dž", // Serbian and Croatian
	'Ǉ': "LJ", 'ǈ': "Lj", 'ǉ': "lj", 'Ǌ': "NJ", 'ǋ': "Nj", 'ǌ': "nj",
	'ﬀ': "ff", 'ﬁ': "fi", 'ﬂ': "fl", 'ﬃ': "ffi", 'ﬄ': "ffl", 'ﬅ': "ſt", 'ﬆ': "st", // typographical
}

// fixLatinLigatures takes ligatures of Latin letters apart; those of other scripts may be meant.
func fixLatinLigatures(text []rune) []rune {
	return translate(text, func(r rune) ([]rune, bool) {
		s, ok := latinLigatures[r]
		return []rune(s), ok
	})
}

const (
	ideographicSpace = 0x3000
	firstWidthForm   = 0xff01
	lastWidthForm    = 0xffef
)

// fixCharacterWidth turns fullwidth and halfwidth forms into the usual ones, and U+3000 into a space.
func fixCharacterWidth(text []rune) []rune {
	return translate(text, func(r rune) ([]rune, bool) {
		switch {
		case r == ideographicSpace:
			return []rune{' '}, true
		case r >= firstWidthForm && r <= lastWidthForm:
			return []rune(norm.NFKC.String(string(r))), true
		}
		return nil, false
	})
}

// uncurlQuotes makes curly quotation marks and the modifier apostrophe straight.
func uncurlQuotes(text []rune) []rune {
	return translate(text, func(r rune) ([]rune, bool) {
		switch {
		case r == 0x2bc || r >= 0x2018 && r <= 0x201b:
			return []rune{'\''}, true
		case r >= 0x201c && r <= 0x201f:
			return []rune{'"'}, true
		}
		return nil, false
	})
}

// fixLineBreaks makes every line break "\n".
func fixLineBreaks(text []rune) []rune {
	out := make([]rune, 0, len(text))
	for i, r := range text {
		switch {
		case r == '\r' && i+1 < len(text) && text[i+1] == '\n': // the "\n" of "\r\n" stands for both
		case r == '\r' || r == 0x2028 || r == 0x2029 || r == 0x85:
			out = append(out, '\n')
		default:
			out = append(out, r)
		}
	}
	return out
}

// fixSurrogates joins surrogate pairs and replaces lone surrogates by U+FFFD.
func fixSurrogates(text []rune) []rune {
	out := make([]rune, 0, len(text))
	for i := 0; i < len(text); i++ {
		r := text[i]
		high := r >= 0xd800 && r <= 0xdbff
		switch {
		case high && i+1 < len(text) && isLowSurrogate(text[i+1]):
			out = append(out, 0x10000+(r-0xd800)<<10+(text[i+1]-0xdc00))
			i++
		case high || isLowSurrogate(r):
			out = append(out, unicode.ReplacementChar)
		default:
			out = append(out, r)
		}
	}
	return out
}

func isLowSurrogate(r rune) bool { return r >= 0xdc00 && r <= 0xdfff }

// removeTerminalEscapes drops ANSI sequences: ESC, "[", digits of any script and semicolons, a Latin letter.
func removeTerminalEscapes(text []rune) []rune {
	if !slices.Contains(text, '\x1b') {
		return text
	}
	out := make([]rune, 0, len(text))
	for i := 0; i < len(text); {
		if n := terminalEscape(text[i:]); n > 0 {
			i += n
			continue
		}
		out = append(out, text[i])
		i++
	}
	return out
}

// terminalEscape returns the length of the escape sequence that text starts with, or 0.
func terminalEscape(text []rune) int {
	if len(text) < 3 || text[0] != '\x1b' || text[1] != '[' {
		return 0
	}
	i := 2
	for i < len(text) && (text[i] == ';' || unicode.IsDigit(text[i])) {
		i++
	}
	if i < len(text) && isASCIILetter(text[i]) {
		return i + 1
	}
	return 0
}

func isASCIILetter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }

// unwantedControl holds what nobody means to write: ASCII controls that are not white space, deprecated Arabic format
// controls, the byte order mark, interlinear annotations and the object replacement character.
var unwantedControl = oneOf("\x00-\x08\x0b\x0e-\x1f\x7f\u206a-\u206f\ufeff\ufff9-\ufffc")

func removeControlChars(text []rune) []rune {
	return translate(text, func(r rune) ([]rune, bool) { return nil, unwantedControl(r) })
}
