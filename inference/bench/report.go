package bench

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// Report is what was measured, and on what.
type Report struct {
	Network     Network           `json:"network"`
	Variant     inference.Variant `json:"variant"`
	Size        string            `json:"size"`
	Tokens      int               `json:"tokens"`
	Machine     inference.Machine `json:"machine"`
	ONNXRuntime string            `json:"onnxruntime"`
	Threads     int               `json:"threads,omitempty"`
	Int8        bool              `json:"int8,omitempty"` // the transformer's linear layers are in 8 bits

	Synthetic bool `json:"synthetic_weights"` // made for the occasion
	Blocks    int  `json:"blocks,omitempty"`  // of AllBlocks were measured
	AllBlocks int  `json:"all_blocks,omitempty"`

	Results []Result `json:"results"`
}

// Result is one thing that was timed.
type Result struct {
	Name    string  `json:"name"`
	Seconds Spread  `json:"seconds,omitzero"`
	FLOP    float64 `json:"flop,omitempty"` // 0: not counted
	Rate    float64 `json:"flop_per_second,omitempty"`

	// Products are the bare matrix products that ran in between, in FLOP per second, and Share is Rate's of their median.
	Products Spread  `json:"products_flop_per_second,omitzero"`
	Share    float64 `json:"share_of_products,omitempty"`

	PeakBytes       int64  `json:"peak_bytes,omitempty"`      // resident, pages of mapped files included
	PeakOwnBytes    int64  `json:"peak_own_bytes,omitempty"`  // of them, pages that are no file's
	PeakCardBytes   int64  `json:"peak_card_bytes,omitempty"` // on the card, by all processes
	AttentionKernel string `json:"attention_kernel,omitempty"`

	PartOfPass       float64   `json:"part_of_pass,omitempty"`       // of the pass before it, all times it is in there
	PartOfClip       float64   `json:"part_of_clip,omitempty"`       // of the clip before it
	AllBlocksSeconds float64   `json:"all_blocks_seconds,omitempty"` // what all blocks would take
	Torch            *Compared `json:"pytorch,omitempty"`
}

// Compared is PyTorch's time for the same. Ratio is its median over ours.
type Compared struct {
	Version string  `json:"version"`
	Seconds Spread  `json:"seconds"`
	Ratio   float64 `json:"ratio"`

	PeakBytes    int64 `json:"peak_bytes,omitempty"`    // resident, on the host
	LibraryBytes int64 `json:"library_bytes,omitempty"` // of them before there was a network
}

// Write writes the report for people.
func (r *Report) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, values ...any) {
		_, _ = fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, values...)) // Flush reports the error
	}
	m := r.Machine
	row("machine", "%s, %s, %d cores", m.Platform, m.CPU, m.Cores)
	layers := ""
	if r.Int8 {
		layers = ", linear layers in int8"
	}
	row("computes", "%s in %s%s, ONNX Runtime %s", m.Device, m.DType, layers, r.ONNXRuntime)
	row("size", "%s", r.Size)
	if r.Network != Text && r.Network != Audio {
		row("", "%s, %d tokens", r.Variant, r.Tokens)
	}
	if r.Synthetic {
		made := "made for the occasion"
		if r.Blocks < r.AllBlocks {
			made += fmt.Sprintf(", %d of %d blocks", r.Blocks, r.AllBlocks)
		}
		if r.Network == E2E {
			made += "; the encoders have the published widths and little inside"
		}
		row("weights", "%s", made)
	}
	for _, x := range r.Results {
		switch {
		case x.Seconds.Runs == 0:
			row(x.Name, "%.0f %% of the pass", 100*x.PartOfPass)
		case x.PartOfClip > 0:
			row(x.Name, "%s, %.1f %% of the clip", x.Seconds.seconds(), 100*x.PartOfClip)
		case x.PartOfPass > 0:
			row(x.Name, "%s, %.0f %% of the pass", x.Seconds.seconds(), 100*x.PartOfPass)
		default:
			row(x.Name, "%s", x.Seconds.seconds())
		}
		if x.FLOP > 0 {
			row("", "%s, %s, %.0f %% of what matrix products reach", quantity(x.FLOP, "FLOP"), quantity(x.Rate, "FLOP/s"), 100*x.Share)
			p := x.Products
			row("", "products: %s (%s..%s)", quantity(p.Median, "FLOP/s"), quantity(p.Min, "FLOP/s"), quantity(p.Max, "FLOP/s"))
		}
		if x.AttentionKernel != "" {
			row("", "attention kernel %s", x.AttentionKernel)
		}
		if x.AllBlocksSeconds > 0 {
			row("", "about %s s with all %d blocks", digits(x.AllBlocksSeconds), r.AllBlocks)
		}
		if x.PeakBytes > 0 {
			row("", "peak memory %s, %s of it pages that are no file's", weights.Size(x.PeakBytes), weights.Size(x.PeakOwnBytes))
		}
		if x.PeakCardBytes > 0 {
			row("", "%s of the card's memory in use", weights.Size(x.PeakCardBytes))
		}
		if c := x.Torch; c != nil {
			row("", "PyTorch %s: %s, %.2f times ours", c.Version, c.Seconds.seconds(), c.Ratio)
			if c.PeakBytes > 0 {
				row("", "its peak memory %s, %s of it libraries", weights.Size(c.PeakBytes), weights.Size(c.LibraryBytes))
			}
		}
	}
	return t.Flush()
}
