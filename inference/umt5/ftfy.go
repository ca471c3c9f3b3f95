package umt5

// The files ftfy*.go are a port to Go of the parts of ftfy 6.3.1 that ftfy.fix_text runs with its default settings:
// the order of the fixes, the tables, the patterns and the badness heuristic are taken from it.
//
// NOTICE
// ftfy is Copyright Robyn Speer, https://github.com/rspeer/python-ftfy, licensed under the Apache License, Version 2.0
// (the "License"); you may not use these files except in compliance with the License. You may obtain a copy of the
// License at http://www.apache.org/licenses/LICENSE-2.0. Unless required by applicable law or agreed to in writing,
// software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY
// KIND, either express or implied. See the License for the specific language governing permissions and limitations
// under the License. Changed: translated from Python, reduced to the default settings, without explanations.

import (
	"slices"
	"unicode/utf8"
)

// maxSegment is the most characters that are repaired as one piece.
const maxSegment = 1_000_000

// fixText is ftfy.fix_text: every line, with its line break, is repaired on its own. HTML entities are decoded up to
// the first line that holds a literal "<", for then the text is taken to be HTML itself.
func fixText(s string) string {
	text := decodeText(s)
	out := make([]rune, 0, len(text))
	unescape := true
	for len(text) > 0 {
		n := slices.Index(text, '\n') + 1
		if n == 0 {
			n = len(text)
		}
		n = min(n, maxSegment)
		if slices.Contains(text[:n], '<') {
			unescape = false
		}
		out = append(out, fixSegment(text[:n], unescape)...)
		text = text[n:]
	}
	return string(out)
}

// fixSegment applies every fix in ftfy's order until nothing changes. It ends because every fix that does not leave
// the text alone shortens it or takes characters to a form that no later fix undoes.
func fixSegment(text []rune, unescape bool) []rune {
	for {
		before := text
		if unescape {
			text = unescapeEntities(text)
		}
		text = fixEncoding(text)
		text = fixC1Controls(text)
		text = fixLatinLigatures(text)
		text = fixCharacterWidth(text)
		text = uncurlQuotes(text)
		text = fixLineBreaks(text)
		text = fixSurrogates(text)
		text = removeTerminalEscapes(text)
		text = removeControlChars(text)
		text = composeNFC(text)
		if slices.Equal(text, before) {
			return text
		}
	}
}

// decodeText is []rune(s) but for surrogates: Python's strings may hold them, and in bytes they are the three that
// UTF-8 would use had it not forbidden them (WTF-8). They are kept, so that fixSurrogates sees what ftfy would see.
func decodeText(s string) []rune {
	text := make([]rune, 0, len(s))
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 && i+2 < len(s) &&
			s[i] == 0xed && s[i+1] >= 0xa0 && s[i+1] <= 0xbf && s[i+2] >= 0x80 && s[i+2] <= 0xbf {
			r, n = 0xd000|rune(s[i+1]&0x3f)<<6|rune(s[i+2]&0x3f), 3
		}
		text = append(text, r)
		i += n
	}
	return text
}
