package inference

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/plan"
	"github.com/humo-worker/humo-worker/inference/sampler"
	"github.com/humo-worker/humo-worker/inference/wan"
)

// whole is a forward pass as one network, as if its passes had nothing in common.
func whole(m *wan.DiT, size wan.Grid) *graph.Network {
	n := &graph.Network{Name: "whole"}
	there := map[string]bool{}
	for _, part := range []*graph.Network{m.TimeNetwork(), m.StartNetwork(size), m.PassNetwork(size)} {
		for _, p := range part.Inputs {
			if !there[p.Name] {
				n.Inputs, there[p.Name] = append(n.Inputs, p), true
			}
		}
		for _, name := range part.Outputs {
			there[name] = true
		}
		n.Stages, n.Outputs = append(n.Stages, part.Stages...), part.Outputs
	}
	return n
}

func normal(r *rand.Rand, n int64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// Passes that share their beginning give the bits of passes that do not, wherever and in whatever they are computed: in one session
// a network, in a session a stage, with weights that stay, that are streamed, that are rounded to 8 bits.
func TestSharedBeginning(t *testing.T) {
	e := openEngine(t)
	arena := ort.Place{Kind: ort.Arena}
	for _, on := range []struct {
		name      string
		variant   Variant // weights in fp32, or in bf16
		device    device
		decompose bool
		int8      bool
		groups    int64
	}{
		{name: "joined", variant: Variant1B, device: device{dtype: checkpoint.F32, mapped: true}},
		{name: "staged", variant: Variant17B, device: device{dtype: checkpoint.F32, mapped: true}},
		{name: "decomposed", variant: Variant1B, device: device{dtype: checkpoint.F32, mapped: true}, decompose: true},
		{name: "int8", variant: Variant17B, device: device{dtype: checkpoint.F32, mapped: true}, int8: true},
		{name: "fp32 on a card", variant: Variant1B, device: device{dtype: checkpoint.F32, place: arena}},
		{name: "fp16", variant: Variant1B, device: device{dtype: checkpoint.F16}},
		{name: "bf16", variant: Variant17B, device: device{dtype: checkpoint.BF16}},
		{name: "decomposed bf16", variant: Variant17B, device: device{dtype: checkpoint.BF16}, decompose: true},
		{name: "fp16 streamed", variant: Variant1B, device: device{dtype: checkpoint.F16, place: arena}, groups: 2},
		{name: "bf16 streamed", variant: Variant17B, device: device{dtype: checkpoint.BF16, place: arena}, groups: 64},
	} {
		t.Run(on.name, func(t *testing.T) {
			if on.int8 && !ort.Int8Exact() {
				t.Skip("this processor has no VNNI instructions")
			}
			m, err := e.Models(on.variant)
			if err != nil {
				t.Fatal(err)
			}
			d := on.device
			if err := d.open(e.rt); err != nil {
				t.Fatal(err)
			}
			d.plan = &plan.Plan{Groups: max(1, on.groups)}
			dit, _, err := newTransformer(site{rt: e.rt, network: plan.DiT, device: &d, decompose: on.decompose}, m.Transformer.ix)
			if err != nil {
				t.Fatal(err)
			}
			dit.int8 = on.int8
			wantShared(t, dit)
			if shelf := d.shelves[plan.DiT]; on.groups > 0 && shelf.Bytes() != stays(t, dit) {
				t.Errorf("beside streamed blocks %d bytes stay, want %d", shelf.Bytes(), stays(t, dit))
			}
			if err := closeDevices([]*device{&d}); err != nil {
				t.Error(err)
			}
			if held := e.rt.Held(arena); held != 0 {
				t.Errorf("%d bytes are held afterwards", held)
			}
		})
	}
}

// wantShared compares passes of two latents at two timesteps.
func wantShared(t *testing.T, dit *Transformer) {
	t.Helper()
	size := wan.Grid{Frames: 3, Height: 4, Width: 6}
	ctx, r := t.Context(), rand.New(rand.NewPCG(5, 9))
	var texts, voices []Keys
	for range 2 {
		text, err := dit.TextKeys(ctx, &TextEmbedding{Data: normal(r, 7*dit.net.TextDim())})
		if err != nil {
			t.Fatal(err)
		}
		defer closed(t, text)
		audio, err := dit.AudioKeys(ctx, normal(r, size.Frames*dit.net.AudioFeatures()), int(size.Frames))
		if err != nil {
			t.Fatal(err)
		}
		defer closed(t, audio)
		texts, voices = append(texts, text), append(voices, audio)
	}
	f, err := dit.Prepare(ctx, size)
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, f)
	alone, err := dit.chain(whole(dit.net, size), ort.ChainOptions{Join: true, Int8: dit.int8})
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, alone)
	var last []float32
	for _, timestep := range []int64{999, 500} {
		step, err := f.Step(ctx, timestep)
		if err != nil {
			t.Fatal(err)
		}
		defer closed(t, step)
		for range 2 {
			latents := normal(r, dit.net.InChannels()*size.Frames*size.Height*size.Width)
			if err := step.Begin(ctx, latents); err != nil {
				t.Fatal(err)
			}
			for i, text := range texts {
				got, err := step.Pass(ctx, text, voices[i])
				if err != nil {
					t.Fatal(err)
				}
				if want := unshared(t, f, alone, latents, timestep, text, voices[i]); !slices.Equal(got, want) {
					t.Errorf("timestep %d, pass %d: other bits", timestep, i)
				}
				if slices.Equal(got, last) {
					t.Errorf("timestep %d, pass %d: the numbers of the pass before", timestep, i)
				}
				last = got
			}
		}
	}
}

// unshared runs one pass of the whole network.
func unshared(t *testing.T, f *Forward, alone *ort.Chain, latents []float32, timestep int64, text, audio Keys) []float32 {
	t.Helper()
	dim := f.t.net.FrequencyDim()
	time, err := ort.FromFloat32s([]int64{1, dim}, wan.TimestepEmbedding(timestep, dim))
	if err != nil {
		t.Fatal(err)
	}
	x, err := ort.FromFloat32s([]int64{f.t.net.InChannels(), f.size.Frames, f.size.Height, f.size.Width}, latents)
	if err != nil {
		t.Fatal(err)
	}
	out, err := alone.Run(t.Context(), together(Keys{"latents": x, "time": time}, f.rotary, text, audio), nil)
	if err != nil {
		t.Fatal(err)
	}
	velocity, err := ort.Float32s(out, "velocity")
	if err != nil {
		t.Fatal(err)
	}
	return velocity
}

func closed(t *testing.T, c interface{ Close() error }) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// stays counts the weights that are needed once a step, as the device takes them.
func stays(t *testing.T, dit *Transformer) (bytes int64) {
	t.Helper()
	for _, n := range []*graph.Network{dit.net.TimeNetwork(), dit.net.StartNetwork(wan.Grid{Frames: 3, Height: 4, Width: 6})} {
		models, err := n.Split(graph.Options{Weights: graph.Converted, Compute: dit.compute(), Decompose: dit.decompose})
		if err != nil {
			t.Fatal(err)
		}
		if len(models) != 1 {
			t.Errorf("%s has %d stages; more than one would be streamed", n.Name, len(models))
		}
		for _, w := range models[0].Bound {
			bytes += w.Tensor.Elements() * w.Port.DType.Size()
		}
	}
	return bytes
}

// A step computes once what its passes have in common: the second pass finds it, and other latents do not.
func TestStepBeginsOnce(t *testing.T) {
	m, err := openEngine(t).Models(Variant1B)
	if err != nil {
		t.Fatal(err)
	}
	const frames, height, width = 3, 4, 6
	text := &TextEmbedding{}
	c := &conditions{prompt: text, negative: text, windows: make([]float32, frames*int(m.Transformer.net.AudioFeatures())), refs: NewLatent(1, height, width)}
	for mode, works := range map[Mode]int{TA: 3, TIA: 3} { // TIA has a fourth pass, whose latents have the picture
		guidance, err := sampler.NewPlan(Variant1B, mode, sampler.DefaultScales(Variant1B))
		if err != nil {
			t.Fatal(err)
		}
		d, err := newDenoiser(t.Context(), m.Transformer, []*device{cpu(checkpoint.F32)}, guidance, c, frames)
		if err != nil {
			t.Fatal(err)
		}
		defer closed(t, d)
		latents, l, passes := NewLatent(frames, height, width), d.lanes[0], 0
		inputs := map[bool][]float32{true: d.input(latents, true), false: d.input(latents, false)}
		err = l.run(context.Background(), 500, guidance.Conditions(500), inputs, func(int, []float32) {
			passes++
			closed(t, l.forward.time)
			closed(t, l.forward.start)
		})
		if passes != works || (err == nil) != (mode == TA) {
			t.Errorf("%s: %d passes ran without beginning again, error %v", mode, passes, err)
		}
	}
}
