package readahead

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func write(t *testing.T, size int) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "weights")
	if err := os.WriteFile(file, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestMerge(t *testing.T) {
	far := int64(10 * Block)
	got := Merge([]Range{{"b", far, 5}, {"a", 100, 10}, {"b", 0, 10}, {"b", 10, 10}, {"b", 30, 0}, {"b", 24, 6}, {"b", 2, 3}})
	want := []Range{{"b", 0, 30}, {"b", far, 5}, {"a", 100, 10}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Everything is read that fits the limit; what cannot be read does not stop the rest.
func TestReadsUpToItsLimit(t *testing.T) {
	defer goleak.VerifyNone(t)
	size := 3*Block + 17
	file := write(t, size)
	ranges := []Range{{"nowhere", 0, 1 << 40}, {file, 0, int64(size)}}
	for limit, want := range map[int64]int64{math.MaxInt64: int64(size), Block + 3: Block + 3, 0: 0} {
		if got := Read(t.Context(), ranges, limit); got != want {
			t.Errorf("limit %d: %d bytes, want %d", limit, got, want)
		}
	}
	if got := Read(t.Context(), []Range{{file, int64(size) - 5, 100}}, math.MaxInt64); got != 5 {
		t.Errorf("%d bytes behind the end", got)
	}
}

// A context that has ended stops it before everything is read.
func TestStops(t *testing.T) {
	defer goleak.VerifyNone(t)
	file := write(t, Block)
	ranges := make([]Range, 10_000)
	for i := range ranges {
		ranges[i] = Range{file, 0, Block}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := Read(ctx, ranges, math.MaxInt64); got > 1000*Block {
		t.Errorf("%d blocks were read", got/Block)
	}
}

// The pages of a file that were dropped are read back. A file system without a cache of its own, such as one in memory,
// drops nothing.
func TestFillsThePageCache(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells what is cached")
	}
	const size = 8 * Block
	file := write(t, size)
	if err := Drop(file); err != nil {
		t.Fatal(err)
	}
	if cached, err := Cached(file); err != nil || cached > size/2 {
		t.Skipf("this file system keeps %d of %d bytes, %v", cached, size, err)
	}
	Read(t.Context(), []Range{{file, 0, size}}, math.MaxInt64)
	if cached, err := Cached(file); err != nil || cached != size {
		t.Errorf("%d of %d bytes are cached, %v", cached, size, err)
	}
}
