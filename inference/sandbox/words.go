package sandbox

import (
	"strconv"
	"strings"
)

// words keeps the begin and the end of what is written to it, and only printable characters of that: a file can make a
// program print what it likes, and this ends in a log. Go's runtime tells the cause first, other programs last.
type words struct {
	first, last []byte
	cut         bool // between them
}

func (w *words) Write(p []byte) (int, error) {
	const begin, end = 200, 1000
	n := min(len(p), begin-len(w.first))
	w.first = append(w.first, p[:n]...)
	w.last = append(w.last, p[n:]...)
	if cut := len(w.last) - end; cut > 0 {
		w.last, w.cut = w.last[cut:], true
	}
	return len(p), nil
}

func (w *words) String() string {
	between := ""
	if w.cut {
		between = " … "
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return ' '
		case strconv.IsPrint(r):
			return r
		}
		return -1
	}, string(w.first)+between+string(w.last)))
}
