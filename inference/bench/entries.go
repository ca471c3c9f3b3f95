package bench

import (
	"slices"
	"strconv"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/ort"
)

// Entry is a line of the table: a measurement, as the command `bench NETWORK` makes it.
type Entry struct {
	Name    string  `json:"name"`
	Network Network `json:"network"`
	Size    string  `json:"size"`
	Blocks  int     `json:"blocks,omitempty"`
	Repeats int     `json:"repeats"`
	Parts   bool    `json:"parts,omitempty"`
	Int8    bool    `json:"int8,omitempty"`
	Growth  bool    `json:"growth,omitempty"` // a point of the chart
	Guard   bool    `json:"guard,omitempty"`  // short enough to be measured again by a check
	Goals   []Goal  `json:"goals,omitempty"`
}

// Args are the command's arguments. With weights, these are measured instead of ones of the published sizes.
func (e Entry) Args(weights, python string) []string {
	args := []string{"bench", string(e.Network), "--json", "--variant", string(inference.Variant1B), "--size", e.Size,
		"--repeats", strconv.Itoa(e.Repeats)}
	if weights != "" {
		args = append(args, "--weights", weights)
	} else {
		args = append(args, "--blocks", strconv.Itoa(e.Blocks))
	}
	if e.Parts {
		args = append(args, "--parts")
	}
	if e.Int8 {
		args = append(args, "--int8")
	}
	if python != "" {
		args = append(args, "--vs-torch", "--python", python)
	}
	return args
}

// possible reports whether this processor can compute it.
func (e Entry) possible() bool { return !e.Int8 || ort.Int8Exact() }

// Goal is what an entry is to reach.
type Goal struct {
	Measure Measure `json:"measure"`
	Limit   float64 `json:"limit"`
}

// Measure is a number without a unit that says how good a result is, on any machine.
type Measure string

// The measures. All but Share are better the smaller they are.
const (
	Time   Measure = "time"   // ours over PyTorch's
	Memory Measure = "memory" // peak, ours over PyTorch's; of PyTorch's, its libraries are left out
	Share  Measure = "share"  // of what bare matrix products reach
	Own    Measure = "own"    // as Memory, but of ours only pages that are no file's, which the system cannot drop and read again
)

// of is the measure of a result, or 0 where there is none.
func (m Measure) of(r Result) float64 {
	c := r.Torch
	switch {
	case m == Share:
		return r.Share
	case c == nil:
		return 0
	case m == Time:
		return 1 / c.Ratio
	case c.PeakBytes <= c.LibraryBytes:
		return 0
	case m == Own:
		return float64(r.PeakOwnBytes) / float64(c.PeakBytes-c.LibraryBytes)
	case m == Memory:
		return float64(r.PeakBytes) / float64(c.PeakBytes-c.LibraryBytes)
	}
	return 0
}

// worse is by how much now is worse than before: 0.2 is a fifth.
func (m Measure) worse(before, now float64) float64 {
	if m == Share {
		return before/now - 1
	}
	return now/before - 1
}

// growthBlocks are few, for the longest clip takes a minute a block; the memory of activations does not depend on them.
const growthBlocks = 2

// Entries are the lines of the table, without those that this processor cannot compute. In the quick form they are so small that
// their numbers mean nothing: that is to try the command.
func Entries(quick bool) []Entry {
	exact := []Goal{{Time, 1}, {Share, 0.88}, {Memory, 0.5}}
	list := []Entry{
		{Name: "matrix products", Network: Products, Size: "832x480x1", Repeats: 9},
		{Name: "DiT pass", Network: DiT, Size: "832x480x1", Blocks: growthBlocks, Repeats: 3, Parts: true, Growth: true, Guard: true,
			Goals: exact},
		{Name: "DiT pass, 8-bit", Network: DiT, Size: "832x480x1", Blocks: growthBlocks, Repeats: 3, Int8: true, Guard: true,
			Goals: []Goal{{Time, 0.45}}},
		{Name: "DiT pass", Network: DiT, Size: "832x480x9", Blocks: growthBlocks, Repeats: 1, Growth: true},
		{Name: "DiT pass", Network: DiT, Size: "832x480x25", Blocks: growthBlocks, Repeats: 1, Growth: true},
		{Name: "DiT pass", Network: DiT, Size: "832x480x57", Blocks: growthBlocks, Repeats: 1, Growth: true, Goals: exact},
		{Name: "DiT pass, whole", Network: DiT, Size: "416x240x9", Repeats: 1, Goals: []Goal{{Memory, 0.5}, {Own, 0.5}}},
		{Name: "VAE decode", Network: VAE, Size: "208x112x5", Repeats: 3, Guard: true},
		{Name: "VAE decode", Network: VAE, Size: "832x480x5", Repeats: 1, Goals: []Goal{{Time, 0.65}, {Memory, 0.5}}},
		{Name: "text encoder", Network: Text, Size: "832x480x1", Blocks: 4, Repeats: 3, Guard: true, Goals: []Goal{{Memory, 0.5}}},
		{Name: "audio encoder", Network: Audio, Size: "832x480x97", Repeats: 1, Guard: true, Goals: []Goal{{Memory, 0.5}}},
		{Name: "clip, end to end", Network: E2E, Size: "128x128x5", Blocks: 2, Repeats: 1, Guard: true, Goals: []Goal{{Memory, 0.5}}},
	}
	list = slices.DeleteFunc(list, func(e Entry) bool { return !e.possible() })
	if quick {
		small := map[string]string{
			"832x480x1": "32x32x1", "832x480x9": "32x32x9", "832x480x25": "32x32x25", "832x480x57": "32x32x57",
		}
		for i := range list {
			e := &list[i]
			e.Repeats = 1
			if s, ok := small[e.Size]; ok {
				e.Size = s
			} else {
				e.Size = "32x32x5"
			}
		}
	}
	return list
}
