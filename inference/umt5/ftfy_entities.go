package umt5

import (
	"strings"
	"sync"
	"unicode"
)

// clearEntities holds the references that are clear enough to decode in any text, with "&" and ";": every name of
// HTML that ends in ";", and the names that HTML has only in lower case in capitals too, for the capitals of what they
// stand for ("&EACUTE;" is no name of HTML, and É was meant).
var clearEntities = sync.OnceValue(func() map[string]string {
	clear := make(map[string]string, 3600)
	for name, chars := range html5Entities() {
		if !strings.HasSuffix(name, ";") {
			continue
		}
		clear["&"+name] = chars
		if name != strings.ToLower(name) {
			continue
		}
		if upper := "&" + strings.ToUpper(name); unescapeCharRefs(upper) == upper {
			clear[upper] = toUpper(chars)
		}
	}
	return clear
})

// toUpper is strings.ToUpper for what entities stand for, with the letters whose capitals are more than one.
func toUpper(chars string) string {
	return strings.ToUpper(severalCapitals.Replace(chars))
}

var severalCapitals = strings.NewReplacer("ß", "SS", "ŉ", "ʼN", "ﬀ", "FF", "ﬁ", "FI", "ﬂ", "FL", "ﬃ", "FFI", "ﬄ", "FFL")

// unescapeEntities decodes what looks like &#?[0-9A-Za-z]{1,24}; and is one of clearEntities or a number.
func unescapeEntities(text []rune) []rune {
	out := make([]rune, 0, len(text))
	for i := 0; i < len(text); {
		n := entityLength(text[i:])
		if n == 0 {
			out = append(out, text[i])
			i++
			continue
		}
		out = append(out, []rune(unescapeEntity(string(text[i:i+n])))...)
		i += n
	}
	return out
}

// entityLength returns the length of the reference that text starts with, or 0.
func entityLength(text []rune) int {
	const maxName = 24
	if text[0] != '&' {
		return 0
	}
	start := 1
	if len(text) > 1 && text[1] == '#' {
		start = 2
	}
	end := start
	for end < len(text) && end-start < maxName && isASCIIAlphanumeric(text[end]) {
		end++
	}
	if end == start || end == len(text) || text[end] != ';' {
		return 0
	}
	return end + 1
}

func isASCIIAlphanumeric(r rune) bool {
	return r < unicode.MaxASCII && (isASCIILetter(r) || isDigit(byte(r)))
}

func unescapeEntity(entity string) string {
	if chars, ok := clearEntities()[entity]; ok {
		return chars
	}
	if strings.HasPrefix(entity, "&#") {
		// The semicolon must be used up, else only a part of the reference was decoded ("&#12ab;").
		if chars := unescapeCharRefs(entity); !strings.Contains(chars, ";") {
			return chars
		}
	}
	return entity
}
