package lora

import (
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/nn"
)

// File is an adapter. Its tensors stay in the file.
type File struct {
	name    string
	field   string
	tensors map[string]*checkpoint.Tensor
}

// Open reads an adapter's list of tensors. field is the name of the request's field, for faults.
func Open(field, path string) (*File, error) {
	f := &File{name: filepath.Base(path), field: field}
	ok, err := isSafetensors(path)
	if err != nil {
		return nil, fault.New("lora_not_found", field, "%q cannot be read; check the LoRA folder", f.name).Because(err)
	}
	if !ok {
		return nil, f.invalid("is no safetensors file, whatever its name says; other formats are not read here")
	}
	ix, err := checkpoint.Open(path)
	if err != nil {
		return nil, f.invalid("is damaged, or holds what is not read here; fetch it again (%v)", err)
	}
	f.tensors = ix.Tensors
	return f, nil
}

// isSafetensors tells by content. The checkpoint room would read other formats too.
func isSafetensors(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close() //nolint:errcheck // only read from
	var head [9]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return false, nil // too short
	}
	return binary.LittleEndian.Uint64(head[:8])>>40 == 0 && head[8] == '{', nil
}

func (f *File) invalid(format string, args ...any) *fault.Error {
	return fault.New("lora_invalid", f.field, "LoRA %q "+format, slices.Concat([]any{f.name}, args)...)
}

// layer are the entries of one layer of the network.
type layer struct {
	entries [parts]*checkpoint.Tensor
	alpha   float64
}

// Attach puts the adapter beside the layers of a network, strength times: low-rank pairs become sides of linear layers,
// "diff" entries are added to weights. unused lists keys for parts that only other models have. Whatever else does not fit
// is a fault that names the layer: an adapter that is half applied makes a clip that nobody asked for.
//
// At strength 0 everything is checked and nothing attached.
func (f *File) Attach(p nn.Parts, strength float64) (unused []string, err error) {
	layers, unused, err := f.layers(p)
	if err != nil {
		return nil, err
	}
	if len(layers) == 0 {
		return nil, f.invalid("has no entry for any layer of this model; it is a LoRA for another model")
	}
	var problems []string
	for _, name := range slices.Sorted(maps.Keys(layers)) {
		problems = append(problems, layers[name].misfits(p, name)...)
	}
	if len(problems) > 0 {
		const most = 5
		if more := len(problems) - most; more > 0 {
			problems = append(problems[:most], fmt.Sprintf("and %d more", more))
		}
		return nil, fault.New("lora_mismatch", f.field, "LoRA %q does not fit this model; use one that was made for it: %s", f.name, strings.Join(problems, "; "))
	}
	if strength == 0 {
		return unused, nil
	}
	for name, l := range layers {
		l.attach(p, name, strength)
	}
	return unused, nil
}

// layers sorts the entries by the network's layers.
func (f *File) layers(p nn.Parts) (layers map[string]*layer, unused []string, err error) {
	dotted, flat := owners(p)
	layers = map[string]*layer{}
	for _, key := range slices.Sorted(maps.Keys(f.tensors)) {
		t := f.tensors[key]
		if absent.MatchString(key) {
			unused = append(unused, key)
			continue
		}
		written, isFlat, part, ok := split(key)
		if !ok {
			return nil, nil, f.invalid("has the entry %.100q, which is of no kind that is read here: pairs lora_down/lora_up or lora_A/lora_B, alpha, diff and diff_b are", key)
		}
		names := dotted
		if isFlat {
			names = flat
		}
		name, ok := names[written]
		if !ok {
			return nil, nil, fault.New("lora_mismatch", f.field, "LoRA %q has an entry for the layer %.100q (%.100q %v), which this model has not; use a LoRA that was made for it",
				f.name, written, key, t.Shape)
		}
		if part != alpha && t.DType != checkpoint.F32 && t.DType != checkpoint.F16 && t.DType != checkpoint.BF16 {
			return nil, nil, f.invalid("has the entry %.100q in %s; weights must be F32, F16 or BF16: convert it", key, t.DType)
		}
		l := layers[name]
		if l == nil {
			l = new(layer)
			layers[name] = l
		}
		if l.entries[part] != nil {
			return nil, nil, f.invalid("has two entries for one part of the layer %s: %.100q and %.100q", name, l.entries[part].Name, key)
		}
		l.entries[part] = t
		if part == alpha {
			if l.alpha, err = f.number(t); err != nil {
				return nil, nil, err
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(layers)) {
		e := layers[name].entries
		if (e[down] == nil) != (e[up] == nil) || e[alpha] != nil && e[down] == nil {
			return nil, nil, f.invalid("lacks one half of the pair down and up for the layer %s", name)
		}
	}
	return layers, unused, nil
}

// maxAlpha is far above every rank, and so small that no strength makes an infinite scale of it.
const maxAlpha = 1e6

// number reads an alpha.
func (f *File) number(t *checkpoint.Tensor) (float64, error) {
	if t.Elements() == 1 {
		if v, err := t.Float32(); err == nil && math.Abs(float64(v[0])) <= maxAlpha { // NaN is not
			return float64(v[0]), nil
		}
	}
	return 0, f.invalid("has the entry %.100q %v, which is not one number from -%g to %g", t.Name, t.Shape, maxAlpha, maxAlpha)
}

// addition is an entry, or none, and the weight that it is added to, or none.
type addition struct {
	entry *checkpoint.Tensor
	to    *graph.Weight
}

func (l *layer) additions(p nn.Parts, name string) []addition {
	return []addition{{l.entries[diff], weightOf(p, name)}, {l.entries[diffBias], p.Weights[name+".bias"]}}
}

// weightOf is a layer's weight, or the layer itself where it is one, such as a modulation.
func weightOf(p nn.Parts, name string) *graph.Weight {
	if w := p.Weights[name+".weight"]; w != nil {
		return w
	}
	return p.Weights[name]
}

// misfits names the layer and both shapes.
func (l *layer) misfits(p nn.Parts, name string) (problems []string) {
	complain := func(format string, args ...any) {
		problems = append(problems, "layer "+name+": "+fmt.Sprintf(format, args...))
	}
	if a, b := l.entries[down], l.entries[up]; a != nil {
		weight := weightOf(p, name)
		switch linear := p.Linears[name]; {
		case linear == nil:
			complain("down %v and up %v are for a linear layer, which it is not", a.Shape, b.Shape)
		case !pairFits(a.Shape, b.Shape, weight.Shape):
			complain("down %v and up %v do not make the weight %v", a.Shape, b.Shape, weight.Shape)
		}
	}
	for _, add := range l.additions(p, name) {
		switch t, w := add.entry, add.to; {
		case t == nil:
		case w == nil:
			complain("%s %v has nothing to be added to", t.Name, t.Shape)
		case !slices.Equal(t.Shape, w.Shape):
			complain("%s is %v, the model's is %v", t.Name, t.Shape, w.Shape)
		}
	}
	return problems
}

// pairFits: a convolution's pair has its kernel's axes too, which are read as one.
func pairFits(down, up, weight []int64) bool {
	return len(down) >= 2 && len(up) >= 2 && len(weight) >= 2 && down[0] > 0 &&
		up[0] == weight[0] && product(up[1:]) == down[0] && product(down[1:]) == product(weight[1:])
}

func (l *layer) attach(p nn.Parts, name string, strength float64) {
	if a := l.entries[down]; a != nil {
		scale := strength
		if l.entries[alpha] != nil { // left out, it is the rank
			scale *= l.alpha / float64(a.Shape[0])
		}
		linear := p.Linears[name]
		linear.Sides = append(linear.Sides, nn.Side{Down: graph.Weight{Tensor: a}, Up: graph.Weight{Tensor: l.entries[up]}, Scale: float32(scale)})
	}
	for _, add := range l.additions(p, name) {
		if add.entry != nil {
			add.to.Deltas = append(add.to.Deltas, graph.Delta{Tensor: add.entry, Scale: float32(strength)})
		}
	}
}

func product(shape []int64) int64 {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	return n
}
