package umt5

import (
	_ "embed"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// entitiesTable is HTML's table of named character references, a name and its code points a line; made by
// gen_entities.go.
//
//go:embed entities.txt
var entitiesTable string

// html5Entities maps names, as written after "&", to characters: those that end in ";" and the old ones that also go
// without. It equals html.entities.html5 in Python.
var html5Entities = sync.OnceValue(func() map[string]string {
	entities := make(map[string]string, 2300)
	for line := range strings.Lines(entitiesTable) {
		fields := strings.Fields(line)
		var chars strings.Builder
		for _, hex := range fields[1:] {
			r, err := strconv.ParseUint(hex, 16, 21)
			if err != nil {
				panic("umt5: entities.txt: " + line)
			}
			chars.WriteRune(rune(r))
		}
		entities[fields[0]] = chars.String()
	}
	return entities
})

// maxEntityName is how many characters after "&", without the semicolon, may be a name.
const maxEntityName = 32

// unescapeCharRefs is Python's html.unescape. It differs from Go's in which code points it drops, in names that run
// into text, and in that a reference may hold any characters but white space, "<", "&", "#" and ";".
func unescapeCharRefs(s string) string {
	if !strings.Contains(s, "&") {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for {
		text, after, found := strings.Cut(s, "&")
		b.WriteString(text)
		if !found {
			return b.String()
		}
		n := charRefLength(after)
		if n == 0 {
			b.WriteByte('&')
		} else {
			b.WriteString(charRef(after[:n]))
		}
		s = after[n:]
	}
}

// charRefLength returns how many bytes of s, the text after a "&", are a character reference. By Python's pattern:
//
//	#[0-9]+;? | #[xX][0-9a-fA-F]+;? | [^\t\n\f <&#;]{1,32};?
func charRefLength(s string) int {
	n := 0
	switch {
	case len(s) > 2 && s[0] == '#' && (s[1] == 'x' || s[1] == 'X') && isHexDigit(s[2]):
		for n = 3; n < len(s) && isHexDigit(s[n]); {
			n++
		}
	case len(s) > 1 && s[0] == '#' && isDigit(s[1]):
		for n = 2; n < len(s) && isDigit(s[n]); {
			n++
		}
	default:
		chars := 0
		for i, r := range s {
			if chars == maxEntityName || strings.ContainsRune("\t\n\f <&#;", r) {
				break
			}
			chars++
			n = i + utf8.RuneLen(r)
		}
	}
	if n > 0 && n < len(s) && s[n] == ';' {
		n++
	}
	return n
}

func isDigit(c byte) bool    { return c >= '0' && c <= '9' }
func isHexDigit(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

// charRef returns what the reference &ref stands for, or the reference itself.
func charRef(ref string) string {
	if digits, ok := strings.CutPrefix(ref, "#"); ok {
		digits = strings.TrimSuffix(digits, ";")
		if digits[0] == 'x' || digits[0] == 'X' {
			return numericCharRef(digits[1:], 16)
		}
		return numericCharRef(digits, 10)
	}
	entities := html5Entities()
	if chars, ok := entities[ref]; ok {
		return chars
	}
	// The longest name that the reference starts with. A name has at least two characters.
	for n := len(ref) - 1; n > 1; n-- {
		if chars, ok := entities[ref[:n]]; ok {
			return chars + ref[n:]
		}
	}
	return "&" + ref
}

func numericCharRef(digits string, base int) string {
	n, err := strconv.ParseInt(digits, base, 32)
	r := rune(n)
	switch {
	case err != nil || r == 0 || r > utf8.MaxRune || r >= 0xd800 && r <= 0xdfff:
		return "\ufffd"
	case isC1Control(r):
		return string(windows1252.decode[r])
	case r != '\t' && r != '\n' && r != '\f' && r != '\r' && r < ' ' || r == 0x7f,
		r >= 0xfdd0 && r <= 0xfdef, r&0xfffe == 0xfffe: // no characters
		return ""
	}
	return string(r)
}
