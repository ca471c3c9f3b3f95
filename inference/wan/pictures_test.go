package wan_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/ort/orttest"
	"github.com/humo-worker/humo-worker/inference/wan"
)

// TestPictures: frames leave the decoder as the bytes that its numbers mean, pixel by pixel: v·0.5+0.5, times 255, truncated. In
// 16 bits memories are as wide as the arithmetic.
func TestPictures(t *testing.T) {
	rt := orttest.Open(t)
	ix, err := checkpoint.Open("../../testdata/golden/dev/weights/Wan2.1-T2V-1.3B/Wan2.1_VAE.pth")
	if err != nil {
		t.Fatal(err)
	}
	v, _, err := wan.LoadVAE(ix)
	if err != nil {
		t.Fatal(err)
	}
	const h, w = 2, 3
	random := rand.New(rand.NewPCG(5, 6))
	latent := make([]float32, wan.LatentChannels*h*w)
	for i := range latent {
		latent[i] = float32(random.NormFloat64())
	}
	for _, v.Compute = range []checkpoint.DType{checkpoint.F32, checkpoint.F16} {
		values := decode(t, rt, v.DecoderNetwork(h, w, wan.First), v.Compute, latent, func(x *ort.Tensor) []float32 { return slices.Clone(x.Float32s()) })
		pixels := decode(t, rt, v.PictureNetwork(h, w, wan.First), v.Compute, latent, func(x *ort.Tensor) []byte { return slices.Clone(x.Bytes()) })
		distinct := map[byte]bool{}
		for i, got := range pixels {
			x := values[i%3*len(values)/3+i/3] // channels come first there and last here
			if want := byte((x*0.5 + 0.5) * 255); got != want {
				t.Fatalf("%s: byte %d is %d, want %d for %g", v.Compute, i, got, want, x)
			}
			distinct[got] = true
		}
		if len(pixels) != len(values) || len(distinct) < 30 {
			t.Errorf("%s: %d bytes for %d values, %d distinct: the comparison shows little", v.Compute, len(pixels), len(values), len(distinct))
		}
	}
}

// decode runs the decoder of a first frame.
func decode[T any](t *testing.T, rt *ort.Runtime, n *graph.Network, compute checkpoint.DType, latent []float32, read func(*ort.Tensor) []T) []T {
	t.Helper()
	chain, err := rt.NewChain(n, ort.ChainOptions{Compute: compute})
	if err != nil {
		t.Fatal(err)
	}
	in, err := ort.FromFloat32s(n.Inputs[0].Shape, latent)
	if err != nil {
		t.Fatal(err)
	}
	state := map[string]*ort.Tensor{}
	out, err := chain.Run(t.Context(), map[string]*ort.Tensor{"latent": in}, state)
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range state {
		if x.DType() != compute {
			t.Errorf("the memory %s is %s, want %s", name, x.DType(), compute)
		}
	}
	result := read(out[wan.FrameName(0)])
	if err := errors.Join(ort.CloseAll(out), ort.CloseAll(state), chain.Close()); err != nil {
		t.Error(err)
	}
	return result
}
