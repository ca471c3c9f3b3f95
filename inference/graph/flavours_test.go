package graph_test

import (
	"errors"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/golden"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/umt5"
	"github.com/humo-worker/humo-worker/inference/wan"
	"github.com/humo-worker/humo-worker/inference/whisper"
)

const weightsFolder = "../../testdata/golden/dev/weights/"

func open(t *testing.T, file string) *checkpoint.Index {
	t.Helper()
	ix, err := checkpoint.Open(weightsFolder + file)
	if err != nil {
		t.Fatal(err)
	}
	return ix
}

// random fills a port: numbers of a normal distribution, or small indices.
func random(t *testing.T, r *rand.Rand, p graph.Port) *ort.Tensor {
	t.Helper()
	n := graph.Value{Shape: p.Shape}.Elements()
	numbers, indices := make([]float32, n), make([]int64, n)
	for i := range n {
		numbers[i], indices[i] = float32(r.NormFloat64()), r.Int64N(32)
	}
	x, err := ort.FromFloat32s(p.Shape, numbers)
	if p.DType == checkpoint.I64 {
		x, err = ort.FromInt64s(p.Shape, indices)
	}
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// compute runs networks one after the other; each finds the results of those before it among its inputs.
func compute(t *testing.T, dtype checkpoint.DType, networks ...*graph.Network) map[string]*ort.Tensor {
	return computeWith(t, ort.ChainOptions{Compute: dtype}, networks...)
}

func computeWith(t *testing.T, o ort.ChainOptions, networks ...*graph.Network) map[string]*ort.Tensor {
	t.Helper()
	r := rand.New(rand.NewPCG(3, 4))
	values := map[string]*ort.Tensor{}
	for _, n := range networks {
		for _, p := range n.Inputs {
			if values[p.Name] == nil {
				values[p.Name] = random(t, r, p)
			}
		}
		chain, err := runtime.NewChain(n, o)
		if err != nil {
			t.Fatal(err)
		}
		state := map[string]*ort.Tensor{}
		out, err := chain.Run(t.Context(), values, state)
		if err := errors.Join(err, ort.CloseAll(state), chain.Close()); err != nil {
			t.Fatal(err)
		}
		maps.Copy(values, out)
	}
	return values
}

// TestFlavoursAgree: every network gives, in 16 bits, what it gives in float32, as far as 16 bits go. The golden set says how far
// the transformer may be off; the others are given the same room. Nothing agrees to the bit: that would mean that nothing is
// rounded.
func TestFlavoursAgree(t *testing.T) {
	text, _, err := umt5.LoadEncoder(open(t, "Wan2.1-T2V-1.3B/models_t5_umt5-xxl-enc-bf16.pth"))
	if err != nil {
		t.Fatal(err)
	}
	ear, _, err := whisper.LoadEncoder(open(t, "whisper-large-v3/model.safetensors"), 3)
	if err != nil {
		t.Fatal(err)
	}
	vae, _, err := wan.LoadVAE(open(t, "Wan2.1-T2V-1.3B/Wan2.1_VAE.pth"))
	if err != nil {
		t.Fatal(err)
	}
	dit, _, err := wan.LoadDiT(open(t, "HuMo/HuMo-1.7B/ema.pth"))
	if err != nil {
		t.Fatal(err)
	}
	size := wan.Grid{Frames: 2, Height: 4, Width: 6}
	for _, test := range []struct {
		name     string
		dtypes   []checkpoint.DType
		networks func(dtype checkpoint.DType) []*graph.Network
		results  string
	}{
		{"text encoder", []checkpoint.DType{bf16}, func(checkpoint.DType) []*graph.Network {
			return []*graph.Network{text.Network(20)}
		}, "embedding"},
		{"audio encoder", []checkpoint.DType{f16}, func(checkpoint.DType) []*graph.Network {
			return []*graph.Network{ear.Network()}
		}, "band"},
		{"VAE encoder", []checkpoint.DType{f16}, func(dtype checkpoint.DType) []*graph.Network {
			vae.Compute = dtype
			return []*graph.Network{vae.EncoderNetwork(2, 3, wan.Only)}
		}, "latent"},
		{"VAE decoder", []checkpoint.DType{f16}, func(dtype checkpoint.DType) []*graph.Network {
			vae.Compute = dtype
			return []*graph.Network{vae.DecoderNetwork(2, 3, wan.First)}
		}, "frame"},
		{"transformer", []checkpoint.DType{f16, bf16}, func(dtype checkpoint.DType) []*graph.Network {
			dit.Compute = dtype
			return []*graph.Network{dit.TextKeysNetwork(), dit.AudioKeysNetwork(size.Frames), dit.TimeNetwork(), dit.StartNetwork(size), dit.PassNetwork(size)}
		}, "velocity"},
		{"block", []checkpoint.DType{f16, bf16}, func(dtype checkpoint.DType) []*graph.Network {
			dit.Compute = dtype
			return []*graph.Network{dit.BlockNetwork(0, size, 9)}
		}, "x"},
	} {
		exact := compute(t, f32, test.networks(f32)...)
		for _, dtype := range test.dtypes {
			rounded := compute(t, dtype, test.networks(dtype)...)
			limit := map[checkpoint.DType]float64{f16: 3e-3, bf16: 2e-2}[dtype]
			compared := 0
			for name, x := range rounded {
				if !strings.HasPrefix(name, test.results) || x.DType() != f32 {
					continue
				}
				compared++
				if e := golden.RelativeL2(x.Float32s(), exact[name].Float32s()); !(e <= limit) || e == 0 {
					t.Errorf("%s, %s: %s is off by %.2g, want at most %g", test.name, dtype, name, e, limit)
				} else {
					t.Logf("%s, %s: %s is off by %.2g", test.name, dtype, name, e)
				}
			}
			if compared == 0 {
				t.Errorf("%s leaves no result %s", test.name, test.results)
			}
		}
	}
}

// TestFastTransformer: in 8 bits a pass gives what it gives in float32 within a few per cent, stored in one file or in
// shards. The keys of text and audio are not touched.
func TestFastTransformer(t *testing.T) {
	if !ort.Int8Exact() {
		t.Skip("this processor has no VNNI instructions")
	}
	for _, file := range []string{"HuMo/HuMo-1.7B/ema.pth", "HuMo/HuMo-17B/humo.safetensors.index.json"} {
		dit, _, err := wan.LoadDiT(open(t, file))
		if err != nil {
			t.Fatal(err)
		}
		size := wan.Grid{Frames: 2, Height: 4, Width: 6}
		networks := []*graph.Network{dit.TextKeysNetwork(), dit.AudioKeysNetwork(size.Frames), dit.TimeNetwork(), dit.StartNetwork(size), dit.PassNetwork(size)}
		exact, fast := compute(t, f32, networks...), computeWith(t, ort.ChainOptions{Int8: true}, networks...)
		streamed := computeWith(t, ort.ChainOptions{Int8: true, Groups: 2}, networks...)
		if e := golden.RelativeL2(streamed["velocity"].Float32s(), fast["velocity"].Float32s()); e != 0 {
			t.Errorf("%s: with streamed weights the velocity is off by %.2g", file, e)
		}
		for name, x := range exact {
			switch e := golden.RelativeL2(fast[name].Float32s(), x.Float32s()); {
			case name == "velocity":
				t.Logf("%s: the velocity is off by %.2g", file, e)
				if !(e > 1e-4 && e <= 5e-2) {
					t.Errorf("%s: the velocity is off by %.2g", file, e)
				}
			case strings.HasPrefix(name, "blocks.") && e != 0:
				t.Errorf("%s: %s is off by %.2g", file, name, e)
			}
		}
	}
}
