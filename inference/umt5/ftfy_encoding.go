package umt5

import (
	"slices"
	"unicode/utf8"
)

// fixEncoding undoes mojibake, UTF-8 that was read in a single-byte encoding, as often as it was done.
func fixEncoding(text []rune) []rune {
	for {
		before := text
		text = fixEncodingOnce(text)
		if slices.Equal(text, before) {
			return text
		}
	}
}

func fixEncodingOnce(text []rune) []rune {
	if isASCII(text) || !isBad(text) {
		return text
	}

	// The whole text was UTF-8, read in one encoding.
	isLatin1 := false
	for _, encoding := range charmapEncodings {
		b, ok := encoding.bytes(text)
		if !ok {
			continue
		}
		isLatin1 = isLatin1 || encoding.latin1
		if !encoding.mac && contains(alteredUTF8, b) {
			b = restoreByteA0(b)
		}
		if encoding.sloppy {
			b = replaceLossySequences(b)
		}
		if fixed, ok := decodeUTF8(b); ok {
			return fixed
		}
	}

	// Parts of the text were.
	if fixed := decodeInconsistentUTF8(text); !slices.Equal(fixed, text) {
		return fixed
	}

	// It is Windows-1252 that was read as Latin-1. This is the strict encoding: a byte that it leaves open ends it.
	if isLatin1 {
		if fixed, ok := latin1AsWindows1252(text); ok && !slices.Equal(fixed, text) {
			return fixed
		}
	}
	return fixC1Controls(text)
}

// latin1AsWindows1252 fails where Windows-1252 assigns no character to a byte.
func latin1AsWindows1252(text []rune) ([]rune, bool) {
	out := make([]rune, len(text))
	for i, r := range text {
		switch r {
		case 0x81, 0x8d, 0x8f, 0x90, 0x9d:
			return nil, false
		case substitute:
			out[i] = r // the sloppy table has U+FFFD there
		default:
			out[i] = windows1252.decode[r]
		}
	}
	return out, true
}

func isASCII(text []rune) bool {
	return !slices.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf })
}

var (
	// clueSequences are UTF-8 sequences as they look in the encodings above.
	clueSequences = pattern{
		{oneOf(clueFirstOf2), oneOf(clueContinuation)},
		{oneOf(clueFirstOf3), oneOf(clueContinuation), oneOf(clueContinuation)},
		{oneOf(clueFirstOf4), oneOf(clueContinuation), oneOf(clueContinuation), oneOf(clueContinuation)},
	}
	clueBefore = oneOf(clueContinuationStrict)
)

// decodeInconsistentUTF8 repairs stretches that look like mojibake within text that as a whole is none. A stretch does
// not start right after what may be a continuation, so as not to mend a few characters of a garble and make it worse.
func decodeInconsistentUTF8(text []rune) []rune {
	out := make([]rune, 0, len(text))
	for i := 0; i < len(text); {
		end := i
		if i == 0 || !clueBefore(text[i-1]) {
			for n := matchAt(clueSequences, text, end); n > 0; n = matchAt(clueSequences, text, end) {
				end += n
			}
		}
		switch stretch := text[i:end]; {
		case len(stretch) == 0:
			out = append(out, text[i])
			end = i + 1
		case len(stretch) < len(text) && isBad(stretch): // shorter, or this would never end
			out = append(out, fixEncoding(stretch)...)
		default:
			out = append(out, stretch...)
		}
		i = end
	}
	return out
}
