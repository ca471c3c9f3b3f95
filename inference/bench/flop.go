package bench

import (
	"strings"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/umt5"
	"github.com/humo-worker/humo-worker/inference/whisper"
)

// The transformer's arithmetic is inference.Shape's. A multiplication with an addition is two operations. What is not a
// matrix product or a convolution is left out: its time shows in the share of the products' speed that a network reaches.

// attentionFLOP is the products of queries with keys and of weights with values.
func attentionFLOP(queries, keys, width float64) float64 { return 4 * queries * keys * width }

// decodeFLOP is the decoding of latents [F, h, w]. A convolution computes every weight once per position of its result; a
// faster algorithm that saves multiplications counts as the same.
func decodeFLOP(ix *checkpoint.Index, frames, height, width int) (flop float64) {
	for name, t := range ix.Tensors {
		part, decoder := strings.CutPrefix(name, "decoder.")
		if !decoder && name != "conv2.weight" || !strings.HasSuffix(name, ".weight") {
			continue // another network's, or no kernel
		}
		weights := 1.0
		for _, n := range t.Shape {
			weights *= float64(n)
		}
		flop += 2 * weights * positions(part, frames, height, width)
	}
	if q := ix.Tensors["decoder.middle.1.proj.weight"]; q != nil {
		pixels := float64(height * width)
		flop += float64(frames) * attentionFLOP(pixels, pixels, float64(q.Shape[0]))
	}
	return flop
}

// positions are those that a convolution of the decoder computes. The first latent frame stays one frame, every later one
// becomes two, then four.
func positions(name string, frames, height, width int) float64 {
	twice, all := 2*frames-1, 4*frames-3
	at := func(frames, scale int) float64 { return float64(frames * height * width * scale * scale) }
	var index int
	rest, up := strings.CutPrefix(name, "upsamples.")
	if !up {
		if strings.HasPrefix(name, "head.") {
			return at(all, 8)
		}
		return at(frames, 1)
	}
	for _, digit := range rest[:strings.IndexByte(rest, '.')] {
		index = 10*index + int(digit-'0')
	}
	switch { // three residual blocks, then a doubling, four times
	case strings.Contains(rest, "time_conv") && index == 3:
		return at(frames-1, 1)
	case strings.Contains(rest, "time_conv"):
		return at(twice-1, 2)
	case index < 3:
		return at(frames, 1)
	case index == 3:
		return at(twice, 2)
	case index < 7:
		return at(twice, 2)
	case index == 7:
		return at(all, 4)
	case index < 11:
		return at(all, 4)
	}
	return at(all, 8)
}

// textFLOP is the encoding of tokens.
func textFLOP(m *umt5.Encoder, tokens int) float64 {
	l, d := float64(tokens), float64(m.Dim())
	b := m.Blocks[0]
	heads, ffn := float64(b.Attn.Q.Weight.Shape[0]), float64(b.FC1.Weight.Shape[0])
	return float64(len(m.Blocks)) * (8*l*d*heads + attentionFLOP(l, l, heads) + 6*l*d*ffn)
}

// audioFLOP is the encoding of segments of 30 seconds.
func audioFLOP(m *whisper.Encoder, segments int) float64 {
	l, d := float64(m.Positions()), float64(m.Dim())
	ffn := float64(m.Layers[0].FC1.Weight.Shape[0])
	convolutions := 2 * (2*l*float64(m.Conv1.Weight.Elements()) + l*float64(m.Conv2.Weight.Elements()))
	return float64(segments) * (convolutions + float64(len(m.Layers))*(8*l*d*d+attentionFLOP(l, l, d)+4*l*d*ffn))
}
