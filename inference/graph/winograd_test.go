package graph_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/golden"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/wan"
)

// TestWinogradVAE: both halves of the VAE give the same with each 3×3 convolution in Winograd's form, at sizes with a remainder
// too.
func TestWinogradVAE(t *testing.T) {
	vae, _, err := wan.LoadVAE(open(t, "Wan2.1-T2V-1.3B/Wan2.1_VAE.pth"))
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]*graph.Network{
		"encoder": vae.EncoderNetwork(2, 3, wan.Only), "decoder": vae.DecoderNetwork(5, 3, wan.First), "next": vae.DecoderNetwork(1, 2, wan.Next),
	} {
		plain := computeWith(t, ort.ChainOptions{Decompose: true}, n)
		fast := computeWith(t, ort.ChainOptions{Winograd: graph.WinogradAlways}, n)
		for _, result := range n.Outputs {
			if e := golden.RelativeL2(fast[result].Float32s(), plain[result].Float32s()); !(e <= 5e-6) || e == 0 {
				t.Errorf("%s: %s is off by %.2g", name, result, e)
			}
		}
	}
}

// TestWinogradWherePays: at the size of a published clip every 3×3 convolution between features takes Winograd's form; those from
// and to pictures and latents, whose transforms would take longer than they do, stay as they are. So does everything in a tiny
// picture.
func TestWinogradWherePays(t *testing.T) {
	v := publishedVAE(t)
	for _, test := range []struct {
		name    string
		network *graph.Network
		plain   []string // modules
		some    bool     // in Winograd's form
	}{
		{"decoder", v.DecoderNetwork(60, 104, wan.Next), []string{"decoder.head.2"}, true},
		{"encoder", v.EncoderNetwork(60, 104, wan.Next), []string{"encoder.conv1", "encoder.head.2"}, true},
		{"tiny decoder", v.DecoderNetwork(1, 1, wan.First), nil, false},
	} {
		models, err := test.network.Split(graph.Options{Weights: graph.Bound, Winograd: graph.WinogradWherePays})
		if err != nil {
			t.Fatal(err)
		}
		var plain []string
		transformed := 0
		for i, m := range models {
			for _, n := range m.Nodes {
				if n.Op == "DepthToSpace" {
					transformed++
				}
				if n.Op == "Conv" && slices.Equal(n.In[1].Shape[2:], []int64{3, 3}) && n.Out[0].Dim(2) == n.In[0].Dim(2) {
					plain = append(plain, strings.TrimSuffix(test.network.Stages[i].Name, ".residual.2"))
				}
			}
		}
		slices.Sort(plain)
		if plain = slices.Compact(plain); test.some && !slices.Equal(plain, test.plain) {
			t.Errorf("%s: plain are %v, want %v", test.name, plain, test.plain)
		}
		if test.some != (transformed > 0) {
			t.Errorf("%s: %d bands are in Winograd's form", test.name, transformed)
		}
	}
}
