package storage

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"strings"
	"unicode"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// maxSegment leaves room, within the 255 bytes that file systems allow, for what a store adds to a name.
const maxSegment = 200

// maxKey is S3's limit, in bytes.
const maxKey = 1024

// ValidKey reports whether key is a relative, slash-separated path of names that people can see: nothing empty, no "."
// or "..", no leading dot (stores keep such names for themselves), no control or format characters, no backslash, no
// blank at either end.
func ValidKey(key string) bool {
	if !fs.ValidPath(key) || key == "." || len(key) > maxKey {
		return false
	}
	for segment := range strings.SplitSeq(key, "/") {
		if segment[0] == '.' || len(segment) > maxSegment || strings.TrimSpace(segment) != segment || strings.ContainsFunc(segment, invisible) {
			return false
		}
	}
	return true
}

func invisible(r rune) bool { return r == '\\' || !unicode.IsPrint(r) }

// Segment makes one part of a key of any name, such as a job id that came over the network. Names of ASCII letters,
// digits and "._-" stay as they are; others are rewritten and get a digest of the original, so that different names
// do not share a segment.
func Segment(name string) string {
	if len(name) <= maxSegment/2 && name != "" && name[0] != '.' && !strings.ContainsFunc(name, unsafe) {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	safe := strings.Map(func(r rune) rune {
		if unsafe(r) {
			return '_'
		}
		return r
	}, strings.TrimLeft(name, ".-"))
	if safe == "" {
		safe = "_"
	}
	return safe[:min(len(safe), maxSegment/2)] + "-" + hex.EncodeToString(sum[:6])
}

func unsafe(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '_', r == '-':
		return false
	}
	return true
}

func badKey(key string) error {
	return fault.New(CodeInvalidKey, "key",
		"%.80q is no storage key: use a relative path of visible characters, without backslashes, whose names do not begin with a dot", key)
}
