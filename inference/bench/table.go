package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/wan"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// Table is what a run of all entries gave.
type Table struct {
	Date        string            `json:"date"`
	Machine     inference.Machine `json:"machine"`
	ONNXRuntime string            `json:"onnxruntime"`
	PyTorch     string            `json:"pytorch,omitempty"`
	Threads     int               `json:"threads,omitempty"`
	Rows        []Row             `json:"rows"`
}

// Row is an entry and its result.
type Row struct {
	Entry
	Report *Report `json:"report"`
}

// main is the entry's own result; others are its parts.
func (r Row) main() Result { return r.Report.Results[0] }

// MeasureTable measures all entries by run, each in a process of its own, so that memory which one keeps is not another's.
// Where one fails, the others are measured all the same: the table is then without it, and the error says which, until ctx ends.
func MeasureTable(ctx context.Context, entries []Entry, run func(context.Context, Entry) (*Report, error)) (*Table, error) {
	t := &Table{Date: time.Now().UTC().Format(time.DateOnly)}
	var failed []error
	for _, e := range entries {
		r, err := run(ctx, e)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s, %s: %w", e.Name, e.Size, err))
			continue
		}
		t.Rows = append(t.Rows, Row{e, r})
		t.Machine, t.ONNXRuntime, t.Threads = r.Machine, r.ONNXRuntime, r.Threads
		if c := r.Results[0].Torch; c != nil {
			t.PyTorch = c.Version
		}
	}
	return t, errors.Join(failed...)
}

// The generated part of the page lies between these lines, and its data in TableData beside it.
const (
	tablePage  = "performance.md"
	TableData  = "performance.json"
	tableBegin = "<!-- made by `make bench-table`: begin -->\n"
	tableEnd   = "<!-- made by `make bench-table`: end -->\n"
)

// Save writes the table's data to a folder, and its text to the page there.
func (t *Table) Save(folder string) error {
	name := filepath.Join(folder, tablePage)
	page, err := os.ReadFile(name) //nolint:gosec // a developer's own folder
	if err != nil {
		return err
	}
	before, rest, begins := bytes.Cut(page, []byte(tableBegin))
	_, after, ends := bytes.Cut(rest, []byte(tableEnd))
	if !begins || !ends {
		return fault.New("no_place", name, "has no lines %q and %q; put them where the table is to be", tableBegin, tableEnd)
	}
	data, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if err := os.WriteFile(filepath.Join(folder, TableData), data, 0o644); err != nil { //nolint:gosec // a page of the project
		return err
	}
	page = []byte(string(before) + tableBegin + "\n" + t.Markdown() + "\n" + tableEnd + string(after))
	return os.WriteFile(name, page, 0o644) //nolint:gosec // a page of the project
}

// ReadTable reads a table's data.
func ReadTable(name string) (*Table, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fault.New("no_table", name, "cannot be read; measure one with `bench table --out FOLDER`").Because(err)
	}
	t := new(Table)
	if err := json.Unmarshal(data, t); err != nil {
		return nil, fault.New("no_table", name, "is no table of measurements; measure one with `bench table --out FOLDER`").Because(err)
	}
	for _, r := range t.Rows {
		if r.Report == nil || len(r.Report.Results) == 0 {
			return nil, fault.New("no_table", name, "has a row %s without a result; measure it anew with `bench table --out FOLDER`",
				r.Name)
		}
	}
	return t, nil
}

// Markdown is the table, the goals, the parts of a pass and the growth, for the page.
func (t *Table) Markdown() string {
	var w strings.Builder
	line := func(format string, values ...any) { _, _ = fmt.Fprintf(&w, format+"\n", values...) }
	m := t.Machine
	line("%s, on %s (%s, %d cores), in %s; ONNX Runtime %s; PyTorch %s.\n", t.Date, m.CPU, m.Platform, m.Cores, m.DType,
		t.ONNXRuntime, orNone(t.PyTorch, "not there"))
	line("| what | size | ours | PyTorch | ours / PyTorch | of the GEMM ceiling | peak memory, ours | PyTorch | ours / PyTorch | ours that is no file's / PyTorch |")
	line("| --- | --- | --: | --: | --: | --: | --: | --: | --: | --: |")
	for _, r := range t.Rows {
		x := r.main()
		theirs, ratio, memory, less, own := "–", "–", "–", "–", "–"
		if c := x.Torch; c != nil {
			theirs, ratio = c.Seconds.plain(), fmt.Sprintf("**%.2f**", Time.of(x))
			if q := Memory.of(x); q > 0 {
				memory, less = weights.Size(c.PeakBytes-c.LibraryBytes), fmt.Sprintf("**%.2f**", q)
				own = fmt.Sprintf("%.2f", Own.of(x))
			}
		}
		share := "–"
		if x.Share > 0 {
			share = fmt.Sprintf("%.0f %%", 100*x.Share)
		}
		line("| %s | %s | %s | %s | %s | %s | %s (%s) | %s | %s | %s |", r.Name, r.describe(), x.Seconds.plain(), theirs, ratio, share,
			weights.Size(x.PeakBytes), weights.Size(x.PeakOwnBytes), memory, less, own)
	}
	t.writeGoals(line)
	t.writeParts(line)
	t.writeGrowth(line)
	return w.String()
}

// describe says what was measured: how large, and how much of the network.
func (r Row) describe() string {
	text := r.Report.Size
	switch r.Network {
	case Products:
		return "512 rows"
	case DiT:
		text += fmt.Sprintf(", %d tokens", r.Report.Tokens)
	case VAE:
		if size, err := ParseSize(r.Size, inference.Variant1B); err == nil && size.Frames > 1 {
			// The first latent frame is one picture and costs about a quarter of any other.
			each := r.main().Seconds.Median * wan.TemporalStride / float64(size.Frames)
			text += fmt.Sprintf(" = %d latent frames; %s s for one of %d pictures", wan.LatentFrames(size.Frames), digits(each),
				wan.TemporalStride)
		}
	}
	if r.Report.Blocks < r.Report.AllBlocks {
		text += fmt.Sprintf("; %d of %d blocks", r.Report.Blocks, r.Report.AllBlocks)
	}
	return text
}

func (t *Table) writeGoals(line func(string, ...any)) {
	words := map[Measure]string{Time: "time of PyTorch's", Memory: "peak memory of PyTorch's",
		Own: "of PyTorch's peak memory, by what is no file's", Share: "of the GEMM ceiling"}
	line("\n| goal | measured | |")
	line("| --- | --: | --- |")
	for _, r := range t.Rows {
		for _, g := range r.Goals {
			got := g.Measure.of(r.main())
			if got == 0 {
				continue // PyTorch was not there
			}
			sign, verdict := "≤", "met"
			if g.Measure == Share {
				sign = "≥"
			}
			if g.Measure.worse(g.Limit, got) > 0 {
				verdict = "missed"
			}
			line("| %s, %s: %s %.2f %s | %.2f | %s |", r.Name, r.Report.Size, sign, g.Limit, words[g.Measure], got, verdict)
		}
	}
}

func (t *Table) writeParts(line func(string, ...any)) {
	for _, r := range t.Rows {
		if !r.Parts || len(r.Report.Results) < 2 {
			continue
		}
		line("\nWhat a %s at %d tokens consists of, each part timed alone:\n", r.Name, r.Report.Tokens)
		line("| part | of the pass | of the GEMM ceiling |")
		line("| --- | --: | --: |")
		for _, x := range r.Report.Results[1:] {
			share := "–"
			if x.Share > 0 {
				share = fmt.Sprintf("%.0f %%", 100*x.Share)
			}
			line("| %s | %.0f %% | %s |", x.Name, 100*x.PartOfPass, share)
		}
	}
}

// writeGrowth says what more tokens cost, as multiples of the shortest.
func (t *Table) writeGrowth(line func(string, ...any)) {
	line("\n![time and memory at 1, 2, 4 and 8 times the tokens](performance.png)\n")
	line("| tokens | time, ours | PyTorch | peak memory, ours | PyTorch | more memory per token, ours |")
	line("| --: | --: | --: | --: | --: | --: |")
	var first, last *Row
	for i := range t.Rows {
		r := &t.Rows[i]
		if !r.Growth {
			continue
		}
		x := r.main()
		theirs, memory, slope := "–", "–", "–"
		if c := x.Torch; c != nil {
			theirs, memory = c.Seconds.plain(), weights.Size(c.PeakBytes-c.LibraryBytes)
		}
		if last != nil {
			slope = fmt.Sprintf("%.0f kB", float64(x.PeakBytes-last.main().PeakBytes)/float64(r.Report.Tokens-last.Report.Tokens)/1000)
		} else {
			first = r
		}
		line("| %d (%.0f×) | %s | %s | %s | %s | %s |", r.Report.Tokens, float64(r.Report.Tokens)/float64(first.Report.Tokens),
			x.Seconds.plain(), theirs, weights.Size(x.PeakBytes), memory, slope)
		last = r
	}
}

func orNone(text, none string) string {
	if text == "" {
		return none
	}
	return text
}
