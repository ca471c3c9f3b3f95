package pull

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"sync"
)

// journal remembers which blocks of an incomplete file have arrived, in a small file beside it: a line that says what file
// that is, then a line per block with its number and checksum, "-" for one that was taken back. A block is noted after it
// was written, so a process that is killed loses only what it had not noted. After a power cut lines may stand for blocks
// that never reached the disk: the checksums find them when the whole file turns out wrong.
type journal struct {
	heading heading

	mu   sync.Mutex
	f    *os.File
	sums []int64 // per block; or absent
	got  int64   // bytes of the blocks that are there
}

// heading is the first line. A journal of another file, or of other blocks, is of no use.
type heading struct {
	Repo, Revision, Source string
	Facts                  facts
	Block                  int64
}

const absent = -1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is a CRC: it finds what a disk or a power cut does, and costs nothing. The file's digest is checked besides.
func checksum(block []byte) int64 { return int64(crc32.Checksum(block, castagnoli)) }

func openJournal(name string, h heading) (*journal, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	j := &journal{heading: h, f: f, sums: make([]int64, (h.Facts.Size+h.Block-1)/h.Block)}
	if j.replay() != nil {
		if err := j.reset(); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return j, nil
}

// set changes what is known of a block.
func (j *journal) set(block int, sum int64) {
	was := j.sums[block]
	if was == absent && sum != absent {
		j.got += j.sizeOf(block)
	} else if was != absent && sum == absent {
		j.got -= j.sizeOf(block)
	}
	j.sums[block] = sum
}

func (j *journal) forget() {
	j.got = 0
	for i := range j.sums {
		j.sums[i] = absent
	}
}

var errOtherJournal = errors.New("the journal is of another file")

// replay reads the lines. One that was cut short by a kill, or that makes no sense, counts as not written.
func (j *journal) replay() error {
	j.forget()
	in := bufio.NewReader(j.f)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	var h heading
	if err := json.Unmarshal(line, &h); err != nil || h != j.heading {
		return errOtherJournal
	}
	for last := false; !last; {
		text, err := in.ReadString('\n')
		last = err != nil
		line := strings.TrimSuffix(text, "\n") + "\n" // of the last one the end may be missing
		var block int
		var sum uint32
		n, _ := fmt.Sscanf(line, "%d %08x\n", &block, &sum)
		// A line that was torn has been ended since, and may still read as a number and a shorter checksum.
		switch known := n > 0 && block >= 0 && block < len(j.sums); {
		case known && line == there(block, sum):
			j.set(block, int64(sum))
		case known && line == gone(block):
			j.set(block, absent)
		}
	}
	// A torn last line would join with the next one.
	_, err = j.f.WriteString("\n")
	return err
}

// there and gone are the lines of a block.
func there(block int, sum uint32) string { return fmt.Sprintf("%d %08x\n", block, sum) }
func gone(block int) string              { return fmt.Sprintf("%d -\n", block) }

// reset begins anew.
func (j *journal) reset() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.forget()
	if err := j.f.Truncate(0); err != nil {
		return err
	}
	return json.NewEncoder(j.f).Encode(j.heading)
}

// note says that a block has been written.
func (j *journal) note(block int, sum int64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.f.WriteString(there(block, uint32(sum))); err != nil {
		return err
	}
	j.set(block, sum)
	return nil
}

// takeBack says that a block must be fetched again.
func (j *journal) takeBack(block int) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.f.WriteString(gone(block)); err != nil {
		return err
	}
	j.set(block, absent)
	return nil
}

// span is blocks from..to.
type span struct{ from, to int }

// missing are the blocks that have not arrived, in runs of at most n.
func (j *journal) missing(n int) []span {
	j.mu.Lock()
	defer j.mu.Unlock()
	var runs []span
	for i := 0; i < len(j.sums); i++ {
		if j.sums[i] != absent {
			continue
		}
		if last := len(runs) - 1; last >= 0 && runs[last].to == i && i-runs[last].from < n {
			runs[last].to++
			continue
		}
		runs = append(runs, span{i, i + 1})
	}
	return runs
}

// arrived is how many bytes the blocks have that are there.
func (j *journal) arrived() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.got
}

// sizeOf is the length of a block: that of all, but for the last one.
func (j *journal) sizeOf(block int) int64 {
	return min(j.heading.Block, j.heading.Facts.Size-int64(block)*j.heading.Block)
}

// compare takes back the blocks that are not in data as they were noted, and returns how many those are.
func (j *journal) compare(data io.ReaderAt) (damaged int, err error) {
	buffer := make([]byte, j.heading.Block)
	for i, sum := range j.sums {
		if sum == absent {
			continue
		}
		b := buffer[:j.sizeOf(i)]
		if _, err := data.ReadAt(b, int64(i)*j.heading.Block); err != nil && !errors.Is(err, io.EOF) {
			return damaged, err
		} else if err == nil && checksum(b) == sum {
			continue
		}
		damaged++
		if err := j.takeBack(i); err != nil {
			return damaged, err
		}
	}
	return damaged, nil
}

func (j *journal) close() error { return j.f.Close() }
