package bench

import (
	"testing"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/wan"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// The arithmetic is what PyTorch's FlopCounterMode counted in scripts/bench-torch at the same sizes.
func TestFLOP(t *testing.T) {
	dir := t.TempDir()
	d := weights.DemoDims()
	d.DiT1B.Dim, d.DiT1B.FFN = 256, 512
	if err := weights.WriteSynthetic(t.Context(), dir, weights.Dims{DiT1B: d.DiT1B, VAE: d.VAE}); err != nil {
		t.Fatal(err)
	}
	files := weights.Locate(dir)
	ix, err := checkpoint.Open(files.Path("HuMo/HuMo-1.7B/ema.pth"))
	if err != nil {
		t.Fatal(err)
	}
	net, _, err := wan.LoadDiT(ix)
	if err != nil {
		t.Fatal(err)
	}
	const tokens, ends = 3 * 4 * 6, 2 * 72 * 256 * (64 + 64) // the embedding of patches and the head are left out
	if got := (inference.Shape{Width: int(net.Dim()), FFN: 512, Layers: len(net.Blocks)}).PassFLOP(tokens); got != 319_684_608-ends {
		t.Errorf("a pass has %.0f", got)
	}
	ix, err = checkpoint.Open(files.Path("Wan2.1-T2V-1.3B/Wan2.1_VAE.pth"))
	if err != nil {
		t.Fatal(err)
	}
	if got := decodeFLOP(ix, 3, 4, 6); got != 853_782_528 {
		t.Errorf("a decoding has %.0f", got)
	}
}
