// Package readahead reads parts of files into the system's page cache, many at a time, in the order in which they will be
// needed. A network disk gives its throughput only to many readers; a network that touches its mapped weights is one.
//
// It must not know what the bytes mean. It changes when pages are read, never what is read: errors of a disk are left to
// whoever needs the page.
package readahead

import (
	"cmp"
	"context"
	"os"
	"slices"
	"sync"
	"sync/atomic"
)

// Range is a part of a file.
type Range struct {
	File          string
	Offset, Bytes int64
}

// Readers are how many parts are read at the same time, Block is what one reads at once: large enough for a request over
// a network to pay off, small enough that all buffers together are 16 MB.
const (
	Readers = 8
	Block   = 2 << 20
)

// Merge sorts ranges by file and place and joins those that touch or nearly do: a gap of less than a block costs less to
// read than to leave out. The files keep the order in which they first appear.
func Merge(ranges []Range) []Range {
	order := map[string]int{}
	for _, r := range ranges {
		if _, ok := order[r.File]; !ok {
			order[r.File] = len(order)
		}
	}
	sorted := slices.Clone(ranges)
	slices.SortStableFunc(sorted, func(a, b Range) int {
		return cmp.Or(cmp.Compare(order[a.File], order[b.File]), cmp.Compare(a.Offset, b.Offset))
	})
	var out []Range
	for _, r := range sorted {
		if r.Bytes <= 0 {
			continue
		}
		if n := len(out) - 1; n >= 0 && out[n].File == r.File && r.Offset <= out[n].Offset+out[n].Bytes+Block/8 {
			out[n].Bytes = max(out[n].Bytes, r.Offset+r.Bytes-out[n].Offset)
			continue
		}
		out = append(out, r)
	}
	return out
}

// Total is the sum of the ranges' bytes.
func Total(ranges []Range) int64 {
	var n int64
	for _, r := range ranges {
		n += r.Bytes
	}
	return n
}

// Read reads the ranges, the first first, until limit bytes are read or ctx ends, and returns how many were. What cannot
// be read is left out.
func Read(ctx context.Context, ranges []Range, limit int64) (bytes int64) {
	files := open(ranges)
	defer files.close()
	blocks := make(chan Range)
	var read atomic.Int64
	var readers sync.WaitGroup
	for range Readers {
		readers.Go(func() {
			buffer := make([]byte, Block)
			for b := range blocks {
				// Reading copies, at memory's speed: unlike the kernel's own read-ahead it is not cut short by a limit
				// of the device, and it tells when it is done.
				n, _ := files[b.File].ReadAt(buffer[:b.Bytes], b.Offset)
				read.Add(int64(n))
			}
		})
	}
	feed(ctx, blocks, ranges, limit, files)
	close(blocks)
	readers.Wait()
	return read.Load()
}

func feed(ctx context.Context, blocks chan<- Range, ranges []Range, limit int64, files handles) {
	for _, r := range ranges {
		if files[r.File] == nil {
			continue
		}
		for r.Bytes > 0 && limit > 0 {
			b := Range{r.File, r.Offset, min(r.Bytes, Block, limit)}
			select {
			case blocks <- b:
			case <-ctx.Done():
				return
			}
			r.Offset, r.Bytes, limit = r.Offset+b.Bytes, r.Bytes-b.Bytes, limit-b.Bytes
		}
	}
}

// handles are the open files by path.
type handles map[string]*os.File

func open(ranges []Range) handles {
	h := handles{}
	for _, r := range ranges {
		if _, seen := h[r.File]; seen {
			continue
		}
		f, err := os.Open(r.File)
		if err != nil {
			f = nil
		}
		h[r.File] = f
	}
	return h
}

func (h handles) close() {
	for _, f := range h {
		if f != nil {
			_ = f.Close() // only read from
		}
	}
}
