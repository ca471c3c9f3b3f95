package storage_test

import (
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/storage"
)

func TestSegment(t *testing.T) {
	for _, name := range []string{"local_test", "9f8e-11-e2.x", "A"} {
		if got := storage.Segment(name); got != name {
			t.Errorf("Segment(%q) = %q, want it unchanged", name, got)
		}
	}
	seen := map[string]string{}
	for _, name := range []string{
		"", ".", "..", "../x", "a/b", "a_b", "a\\b", "a b", "-rf", ".hidden", "ü", "\x00", strings.Repeat("a", 5000), strings.Repeat("a", 5001),
	} {
		got := storage.Segment(name)
		if !storage.ValidKey(got+"/video.mp4") || strings.Contains(got, "/") {
			t.Errorf("Segment(%.20q) = %q, which is no safe part of a key", name, got)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("Segment gives %q for both %.20q and %.20q", got, name, other)
		}
		seen[got] = name
	}
}
