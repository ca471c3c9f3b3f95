package cli

import (
	"bytes"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference/weights/pull"
)

// TestTransferLines: a line for each file that arrives, one every five seconds, and none after Close.
func TestTransferLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := newDisplay(&out, &out).transfer(newLogger(&out, zerolog.InfoLevel), false)
		time.Sleep(5500 * time.Millisecond) // nothing is known yet
		p.Progress(pull.Progress{Path: "was/there", Phase: pull.Planned, Bytes: 500e6, Total: 500e6})
		p.Progress(pull.Progress{Path: "a/b", Phase: pull.Planned, Bytes: 1e9, Total: 7e9})
		p.Progress(pull.Progress{Path: "was/there", Phase: pull.Done, Bytes: 500e6, Total: 500e6})
		for n := int64(1); n <= 6; n++ {
			time.Sleep(time.Second)
			p.Progress(pull.Progress{Path: "a/b", Phase: pull.Fetching, Bytes: (1 + n) * 1e9, Total: 7e9})
		}
		p.Progress(pull.Progress{Path: "a/b", Phase: pull.Checking, Bytes: 1e9, Total: 7e9})
		time.Sleep(5 * time.Second)
		p.Progress(pull.Progress{Path: "a/b", Phase: pull.Done, Bytes: 7e9, Total: 7e9})
		p.Close()
		time.Sleep(time.Minute)
		want := `INFO   | Fetched 5.5 GB of 7.5 GB, 400.0 MB/s, 5s left.
INFO   | Fetched 7.5 GB of 7.5 GB, 400.0 MB/s, 0s left.
INFO   | a/b is in its place (7.0 GB).
`
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("lines (-want +got):\n%s", diff)
		}
	})
}

// TestTransferOfReading: what counts is what has been read.
func TestTransferOfReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := newDisplay(&out, &out).transfer(newLogger(&out, zerolog.InfoLevel), true)
		p.Progress(pull.Progress{Path: "a", Phase: pull.Planned, Total: 2e9})
		p.Progress(pull.Progress{Path: "b", Phase: pull.Planned, Total: 2e9})
		p.Progress(pull.Progress{Path: "a", Phase: pull.Checking, Bytes: 1e9, Total: 2e9})
		time.Sleep(5500 * time.Millisecond)
		p.Progress(pull.Progress{Path: "a", Phase: pull.Done, Bytes: 2e9, Total: 2e9})
		p.Close()
		if got, want := out.String(), "INFO   | Checked 1.0 GB of 4.0 GB, 200.0 MB/s, 15s left.\n"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// TestTransferBars: files move at the same time while their bars are drawn, and whatever is left half way ends.
func TestTransferBars(t *testing.T) {
	for _, last := range []int64{100, 60} {
		d := &display{lines: io.Discard, bars: io.Discard} // mpb draws on terminals only
		p := d.transfer(zerolog.Nop(), false)
		var group sync.WaitGroup
		for _, name := range []string{"dir/a.pth", "dir/b.pth", "dir/c.pth"} {
			group.Go(func() {
				p.Progress(pull.Progress{Path: name, Phase: pull.Planned, Total: 100e6})
				for n := int64(0); n <= last; n++ {
					p.Progress(pull.Progress{Path: name, Phase: pull.Fetching, Bytes: n * 1e6, Total: 100e6})
				}
				if last == 100 {
					p.Progress(pull.Progress{Path: name, Phase: pull.Done, Bytes: 100e6, Total: 100e6})
				}
			})
		}
		group.Wait()
		p.Close()
		if d.bar != nil {
			t.Error("the area of the bars is still there")
		}
		want := map[int64]string{100: " 300.0 MB of 300.0 MB", 60: " 180.0 MB of 300.0 MB"}[last]
		if got := *p.sum.words.Load(); got != want || p.sum.Completed() != (last == 100) || len(p.bars) != 3 {
			t.Errorf("%d bars, completed %v, beside it %q, want %q", len(p.bars), p.sum.Completed(), got, want)
		}
	}
}
