// Package storage puts finished files where the caller of a job can reach them. A Put is all or nothing: a key shows
// the whole file or what it showed before, whatever happens to the process in between.
//
// It knows no job and no video: keys, files and content types only.
package storage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"strings"
	"time"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// Object is a stored file.
type Object struct {
	Key       string
	URL       string
	ExpiresAt time.Time // when the URL ends; zero: never
}

// Store keeps files under keys. An implementation passes storagetest.Run.
type Store interface {
	// Put stores the local file under key, replacing what is there, and returns once the object is durable. A key is a
	// slash-separated path as ValidKey defines it.
	Put(ctx context.Context, key, file, contentType string) (Object, error)
}

// maxSegment leaves room, within the 255 bytes that file systems allow, for what a store adds to a name.
const maxSegment = 200

// ValidKey reports whether key is a relative, slash-separated path of visible names: nothing empty, no "." or "..",
// no name with a leading dot (stores keep such names for themselves), only letters, digits and "._-" of ASCII.
func ValidKey(key string) bool {
	if !fs.ValidPath(key) || key == "." || len(key) > 1024 {
		return false
	}
	for segment := range strings.SplitSeq(key, "/") {
		if segment[0] == '.' || len(segment) > maxSegment || strings.ContainsFunc(segment, unsafe) {
			return false
		}
	}
	return true
}

// Segment makes one part of a key of any name, such as a job id that came over the network. Names that are safe stay
// as they are; others are rewritten and get a digest of the original, so that different names do not
// share a segment.
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
	return fault.New("invalid_key", "key",
		"%q is no storage key: use a relative path of letters, digits, '.', '_' and '-' whose names do not begin with a dot", key)
}
