package umt5

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

// substitute is the byte that stands for U+FFFD in the sloppy encodings.
const substitute = 0x1a

// Byte classes: a byte is the Latin-1 character of the same number.
var (
	byteSpace         = oneOf(" ")
	byteContinuation  = oneOf("\u0080-\u00bf")
	byteLikelySecond  = oneOf("\u0080-\u0084\u0086-\u009f\u00a1-\u00bf") // neither A0 nor the ellipsis 85
	byteLost          = oneOf("\x1a")
	byteLostOrQuery   = oneOf("\x1a?")
	byteLostOrNext    = oneOf("\x1a\u0080-\u00bf")
	byteAnyOfThose    = oneOf("\x1a?\u0080-\u00bf")
	byteSurrogateLead = oneOf("\u00ed")
	byteHighSurrogate = oneOf("\u00a0-\u00af")
	byteLowSurrogate  = oneOf("\u00b0-\u00bf")
)

// alteredUTF8 finds UTF-8 sequences in which a space stands where A0 was: programs took a no-break space for a space.
// Only lead bytes are listed that make likely characters.
var alteredUTF8 = pattern{
	{oneOf("\u00c2\u00c3\u00c5\u00ce\u00d0\u00d9"), byteSpace},
	{oneOf("\u00e2\u00e3"), byteSpace, byteLikelySecond},
	{oneOf("\u00e0-\u00e3"), byteLikelySecond, byteSpace},
	{oneOf("\u00f0"), byteSpace, byteContinuation, byteContinuation},
	{oneOf("\u00f0"), byteContinuation, byteSpace, byteContinuation},
	{oneOf("\u00f0"), byteContinuation, byteContinuation, byteSpace},
}

// restoreByteA0 puts A0 back. C3 and one space most often was the word "à" and its space ("voilà le", "à la"), so the
// space stays too, but not in the Portuguese words "às", "àquele", "àquela", "àquilo".
func restoreByteA0(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := range b {
		out = append(out, b[i])
		if b[i] == 0xc3 && isAGraveWord(b[i+1:]) {
			out = append(out, 0xa0)
		}
	}
	return rewrite(alteredUTF8, out, func(match []byte) []byte {
		return bytes.ReplaceAll(match, []byte{' '}, []byte{0xa0})
	})
}

// isAGraveWord tells whether after, what follows a byte C3, is a space that ends the word "à".
func isAGraveWord(after []byte) bool {
	rest, ok := bytes.CutPrefix(after, []byte(" "))
	if !ok {
		return false
	}
	for _, no := range []string{" ", "quele", "quela", "quilo", "s "} {
		if bytes.HasPrefix(rest, []byte(no)) {
			return false
		}
	}
	return true
}

// lossyUTF8 finds UTF-8 and CESU-8 sequences with lost continuation bytes; "?" may stand for one of them.
var lossyUTF8 = pattern{
	{oneOf("\u00c2-\u00df"), byteLost},
	{oneOf("\u00c2-\u00c3"), oneOf("?")},
	{byteSurrogateLead, byteHighSurrogate, byteLostOrQuery, byteSurrogateLead, byteLowSurrogate, byteAnyOfThose},
	{byteSurrogateLead, byteHighSurrogate, byteAnyOfThose, byteSurrogateLead, byteLowSurrogate, byteLostOrQuery},
	{oneOf("\u00e0-\u00ef"), byteLostOrQuery, byteLostOrNext},
	{oneOf("\u00e0-\u00ef"), byteLostOrNext, byteLostOrQuery},
	{oneOf("\u00f0-\u00f4"), byteLostOrQuery, byteLostOrNext, byteLostOrNext},
	{oneOf("\u00f0-\u00f4"), byteLostOrNext, byteLostOrQuery, byteLostOrNext},
	{oneOf("\u00f0-\u00f4"), byteLostOrNext, byteLostOrNext, byteLostOrQuery},
	{byteLost},
}

// replaceLossySequences replaces them by U+FFFD.
func replaceLossySequences(b []byte) []byte {
	replacement := []byte(string(unicode.ReplacementChar))
	return rewrite(lossyUTF8, b, func([]byte) []byte { return replacement })
}

// decodeUTF8 decodes b if all of it is UTF-8 or one of two variants: CESU-8, in which a character beyond U+FFFF is two
// surrogates of three bytes, and Java's C0 80 for U+0000.
//
// ftfy's patterns for the variants end in "$", which Python also matches before a final line feed; so a final C0, or a
// CESU-8 sequence that lacks its last byte, swallows that line feed. Kept, for equal results.
func decodeUTF8(b []byte) ([]rune, bool) {
	out := make([]rune, 0, len(b))
	plain := 0 // where the stretch of plain UTF-8 before i starts
	flush := func(end int) bool {
		out = append(out, []rune(string(b[plain:end]))...)
		return utf8.Valid(b[plain:end])
	}
	for i := 0; i < len(b); {
		r, n, ok := rune(0), 0, true
		switch {
		case b[i] == 0xc0 && i+1 < len(b) && (b[i+1] == 0x80 || atEnd(b, i+1)):
			n = 2
		case b[i] == 0xed && i+1 < len(b) && b[i+1] >= 0xa0 && b[i+1] <= 0xbf:
			r, n, ok = decodeCESU8(b, i)
		}
		if n == 0 {
			i++
			continue
		}
		if !ok || !flush(i) {
			return nil, false
		}
		out = append(out, r)
		i += n
		plain = i
	}
	return out, flush(len(b))
}

// decodeCESU8 decodes the six bytes of a surrogate pair at b[i:].
func decodeCESU8(b []byte, i int) (r rune, n int, ok bool) {
	const size = 6
	if len(b)-i < size {
		return 0, size, false
	}
	c := b[i : i+size]
	ok = c[1] >= 0xa0 && c[1] <= 0xaf && isContinuation(c[2]) &&
		c[3] == 0xed && c[4] >= 0xb0 && c[4] <= 0xbf && (isContinuation(c[5]) || atEnd(b, i+5))
	return 0x10000 + (rune(c[1]&0x0f)<<16 | rune(c[2]&0x3f)<<10 | rune(c[4]&0x0f)<<6 | rune(c[5]&0x3f)), size, ok
}

func isContinuation(c byte) bool { return c >= 0x80 && c <= 0xbf }

// atEnd tells whether Python's "$" matches at b[i:].
func atEnd(b []byte, i int) bool { return i == len(b) || i == len(b)-1 && b[i] == '\n' }
