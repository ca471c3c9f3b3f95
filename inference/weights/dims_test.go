package weights

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
)

// TestPublishedCounts compares tensors and parameters with the published models'. The transformers' lists hold two
// unknown tensors (36 values) more.
func TestPublishedCounts(t *testing.T) {
	d := PublishedDims()
	for _, c := range []struct {
		name            string
		list            []tensor
		tensors, values int64
	}{
		{"1.7B", ditTensors(*d.DiT1B, checkpoint.F32), 1_193 + 2, 1_741_569_088 + 36},
		{"17B", ditTensors(*d.DiT17B, checkpoint.BF16), 1_583 + 2, 17_055_925_312 + 36},
		{"VAE", vaeTensors(*d.VAE), 194, 126_892_531},
		{"UMT5", umt5Tensors(*d.UMT5), 242, 5_680_910_336},
	} {
		values := int64(0)
		for _, t := range c.list {
			values += t.elements()
		}
		if int64(len(c.list)) != c.tensors || values != c.values {
			t.Errorf("%s: %d tensors with %d values, want %d with %d", c.name, len(c.list), values, c.tensors, c.values)
		}
	}
}

// TestNamesAndShapesAreThePublishedOnes writes the golden set's dims and compares with its files.
func TestNamesAndShapesAreThePublishedOnes(t *testing.T) {
	for file, list := range map[string][]tensor{
		pathDiT1B: ditTensors(DiTDims{Dim: 128, FFN: 80, Layers: 2, Freq: 256, Text: 32, KV: 48, Hidden: 24, Audio: 24, In: 16}, checkpoint.F32),
		pathVAE:   vaeTensors(VAEDims{Dim: 4}),
		pathUMT5:  umt5Tensors(UMT5Dims{Dim: 32, Attention: 32, FFN: 64, Heads: 4, Buckets: 32, Layers: 2, Vocabulary: 1284}),
		pathDiT17B: ditTensors(DiTDims{Dim: 256, FFN: 48, Layers: 1, Freq: 64, Text: 32, KV: 32, Hidden: 16, Audio: 24, In: 36},
			checkpoint.BF16),
	} {
		ix, err := checkpoint.Open(filepath.Join(golden, file))
		if err != nil {
			t.Fatal(err)
		}
		want, got := map[string][]int64{}, map[string][]int64{}
		for name, w := range ix.Tensors {
			want[name] = w.Shape
		}
		for _, w := range list {
			got[w.name] = w.shape
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", file, d)
		}
	}
	ix, err := checkpoint.Open(filepath.Join(golden, pathWhisper))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range whisperTensors(WhisperDims{Dim: 24, FFN: 96, Heads: 3, Layers: 32, Positions: 1500, Mels: 128}) {
		if g := ix.Tensors[w.name]; g == nil || !cmp.Equal(g.Shape, w.shape) || g.DType != w.dtype {
			t.Errorf("%s: %s%v, want %v", w.name, w.dtype, w.shape, g)
		}
	}
}
