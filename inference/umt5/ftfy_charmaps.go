package umt5

import (
	"unicode"

	"golang.org/x/text/encoding/charmap"
)

// charmapEncoding is a single-byte encoding in which UTF-8 may have been misread.
type charmapEncoding struct {
	decode [256]rune
	encode map[rune]byte
	sloppy bool // byte 1A stands for U+FFFD, a byte that an earlier decoder gave up on
	latin1 bool
	mac    bool // byte 20 after an en dash is not a lost A0 here
}

var (
	latin1      = &charmapEncoding{latin1: true}
	windows1252 = &charmapEncoding{sloppy: true}
	macRoman    = &charmapEncoding{mac: true}
)

// charmapEncodings lists the encodings in the order in which they are tried.
var charmapEncodings = []*charmapEncoding{
	latin1.fill(charmap.ISO8859_1),
	windows1252.fill(charmap.Windows1252),
	(&charmapEncoding{sloppy: true}).fill(charmap.Windows1251),
	(&charmapEncoding{sloppy: true}).fill(charmap.Windows1250),
	(&charmapEncoding{sloppy: true}).fill(charmap.Windows1253),
	(&charmapEncoding{sloppy: true}).fill(charmap.Windows1254),
	(&charmapEncoding{sloppy: true}).fill(charmap.Windows1257),
	(&charmapEncoding{}).fill(charmap.ISO8859_2),
	macRoman.fill(charmap.Macintosh),
	(&charmapEncoding{}).fill(charmap.CodePage437),
}

// fill takes over table. Bytes that it leaves open mean what they mean in Latin-1: in the Windows encodings because
// sloppy decoders do so, in ISO 8859-2 because they are C1 controls.
func (e *charmapEncoding) fill(table *charmap.Charmap) *charmapEncoding {
	e.encode = make(map[rune]byte, 256)
	for b := range 256 {
		r := table.DecodeByte(byte(b))
		if r == unicode.ReplacementChar {
			r = rune(b)
		}
		if e.sloppy && b == substitute {
			r = unicode.ReplacementChar
		}
		e.decode[b] = r
		e.encode[r] = byte(b)
	}
	return e
}

// bytes encodes text, if the encoding has all of its characters.
func (e *charmapEncoding) bytes(text []rune) ([]byte, bool) {
	out := make([]byte, len(text))
	for i, r := range text {
		b, ok := e.encode[r]
		if !ok {
			return nil, false
		}
		out[i] = b
	}
	return out, true
}
