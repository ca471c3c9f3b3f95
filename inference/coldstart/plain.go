package coldstart

import (
	"context"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/humo-worker/humo-worker/inference/readahead"
)

// plain gives each reader an equal share of the bytes, one piece after the other: the yardstick owes nothing to the code
// that it measures.
func plain(ctx context.Context, ranges []readahead.Range) int64 {
	share := readahead.Total(ranges)/readahead.Readers + 1
	var total atomic.Int64
	var readers sync.WaitGroup
	for i := range int64(readahead.Readers) {
		readers.Go(func() {
			buffer := make([]byte, readahead.Block)
			for _, r := range slice(ranges, i*share, (i+1)*share) {
				f, err := os.Open(r.File)
				if err != nil {
					continue
				}
				part := io.NewSectionReader(f, r.Offset, r.Bytes)
				for ctx.Err() == nil {
					n, err := part.Read(buffer)
					total.Add(int64(n))
					if err != nil {
						break
					}
				}
				_ = f.Close() // only read from
			}
		})
	}
	readers.Wait()
	return total.Load()
}

// slice is the part [from, to) of the ranges' bytes, counted as if they lay in a row.
func slice(ranges []readahead.Range, from, to int64) []readahead.Range {
	var out []readahead.Range
	at := int64(0)
	for _, r := range ranges {
		begin, end := max(from, at), min(to, at+r.Bytes)
		if begin < end {
			out = append(out, readahead.Range{File: r.File, Offset: r.Offset + begin - at, Bytes: end - begin})
		}
		at += r.Bytes
	}
	return out
}
