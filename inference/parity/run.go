// Package parity computes golden cases with the engine and says how far it is from the original PyTorch code. It takes any
// set of the form that package golden reads, whatever its sizes, prompts and schedules.
//
// It knows every part of the engine and nothing of jobs.
package parity

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/golden"
)

// outputs are computed tensors by the names of the expected ones.
type outputs map[string]golden.Array

// runner computes a case's outputs by the names of the expected tensors.
type runner func(ctx context.Context, e *inference.Engine, c *golden.Case) (outputs, error)

// runners finds a case's runner by the start of its name; the first match counts.
var runners = []struct {
	prefix string
	run    runner
}{
	{"tokenizer", tokenizerCase},
	{"t5", textCase},
	{"audio_windows", windowsCase},
	{"audio_proj_", audioProjectorCase},
	{"audio_", audioCase},
	{"torch_files", torchCase},
	{"rope", rotaryCase},
	{"time_embed", timestepCase},
	{"unipc", samplerCase},
	{"guidance", guidanceCase},
	{"vae_encode", vaeEncodeCase},
	{"vae_decode", vaeDecodeCase},
	{"zero_vae", zeroLatentCase},
	{"letterbox", letterboxCase},
	{"dit_", transformerCase},
	{"e2e_", clipCase},
}

// Run runs every case of the set in dir with e, whose weights are the set's, and writes a line each: name, largest error of
// the tensor that comes nearest to its bound, that bound, ok or FAIL. A case that it does not know is a failure. An
// engine that computes in 16 bits is held to the set's rules for that (reducedRules): then an error may be a relative L2
// error or 1 - cosine. It returns the numbers of cases and of failures; err is set only if the set cannot be read or ctx
// ends.
func Run(ctx context.Context, e *inference.Engine, dir string, w io.Writer) (total, failed int, err error) {
	s, err := golden.Open(dir)
	if err != nil {
		return 0, 0, err
	}
	for _, c := range s.Cases {
		verdict := check(ctx, e, c)
		if ctx.Err() != nil {
			return total, failed, ctx.Err()
		}
		word := "ok"
		if !verdict.ok {
			word = "FAIL"
			failed++
		}
		total++
		if _, err := fmt.Fprintf(w, "%-20s %-10.3g %-11s %s\n", c.Name, verdict.worst, verdict.bound, word); err != nil {
			return total, failed, err
		}
		for _, reason := range verdict.reasons {
			if _, err := fmt.Fprintf(w, "    %s\n", reason); err != nil {
				return total, failed, err
			}
		}
	}
	_, err = fmt.Fprintf(w, "%d cases, %d ok, %d failed\n", total, total-failed, failed)
	return total, failed, err
}

// verdict is the outcome of a case.
type verdict struct {
	ok      bool
	worst   float64 // largest error of the tensor that comes nearest to its bound
	bound   string
	reasons []string // why it failed
}

func check(ctx context.Context, e *inference.Engine, c *golden.Case) verdict {
	failed := func(err error) verdict { return verdict{bound: "-", reasons: []string{err.Error()}} }
	if err := c.Load(); err != nil {
		return failed(err)
	}
	for _, r := range runners {
		if !strings.HasPrefix(c.Name, r.prefix) {
			continue
		}
		got, err := r.run(ctx, e, c)
		if err != nil {
			return failed(err)
		}
		if c.Index == nil { // the tokenizer's case holds text, which its runner has compared
			return verdict{ok: true, bound: "exact"}
		}
		return compareAll(c, got, dtypeOf(e))
	}
	return failed(fmt.Errorf("no test is known for a case of this name"))
}

// dtypeOf is the type in which an engine's transformer computes; without one nothing but Go computes.
func dtypeOf(e *inference.Engine) inference.DType {
	if e == nil {
		return inference.FP32
	}
	return e.Machine().DType
}

// compareAll checks every expected output: one that was not computed, or that nobody expects, is a failure too.
func compareAll(c *golden.Case, got outputs, dtype inference.DType) verdict {
	v := verdict{ok: true, bound: "exact"}
	ratio := -1.0
	var names []string
	for name := range c.Index.Tensors {
		if strings.HasPrefix(name, "out.") {
			names = append(names, name)
		}
	}
	for name := range c.Tensors {
		if strings.HasPrefix(name, "out.") && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		have, ok := got[name]
		if !ok {
			v.ok = false
			v.reasons = append(v.reasons, name+": was not computed")
			continue
		}
		d := ruleOf(dtype, c, name).compare(c, name, have)
		if d.Err != nil {
			v.ok = false
			v.reasons = append(v.reasons, name+": "+d.Err.Error())
		}
		if d.Ratio > ratio {
			ratio, v.worst, v.bound = d.Ratio, d.MaxAbs, d.Bound
		}
	}
	for name := range got {
		if !slices.Contains(names, name) {
			v.ok = false
			v.reasons = append(v.reasons, name+": computed, but the case expects no such tensor")
		}
	}
	if len(names) == 0 {
		v.ok = false
		v.reasons = append(v.reasons, "the case expects nothing")
	}
	return v
}
