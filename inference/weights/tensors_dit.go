package weights

import "github.com/humo-worker/humo-worker/inference/checkpoint"

// The demo's transformer is random except for one idea that makes its pictures worth looking at. The patch convolution
// copies a token's latents to the first 64 channels of the residual stream. The self-attention of blocks 0 and 1, whose
// queries and keys are nearly constant and therefore see little but RoPE's distances, subtracts a near and a wider average
// of them. The head writes what is left as the velocity. Sampling then damps fine noise and uniform tints, and grows
// what lies between: drifting clouds of latents. Text and audio tint and move them through ordinary random layers.
const (
	signal      = 64  // channels of the residual stream that hold a token's latents: 4 pixels × 16
	latent      = 16  // channels of a latent
	patchPixels = 4   // latent pixels of a token
	anchor      = 1   // size of the constant channels that steady LayerNorm's denominator
	nearReach   = 2.8 // see reach; a neighbour counts a third of the token itself
	nearGain    = -3
	wideReach   = 1.8 // a neighbour counts two thirds
	wideGain    = -1.5
	headGain    = 4
)

// ditTensors are the diffusion transformer's of either variant, in the order of its modules, followed by the two
// unknown keys that stand for what the published file holds besides.
func ditTensors(d DiTDims, dtype checkpoint.DType) []tensor {
	n := &network{dtype: dtype}
	n.layerOf("patch_embedding", fanIn(0.05, d.Dim, d.In, 1, 2, 2).plus(copyPatch(d.In)), anchors(d), d.Dim, d.In, 1, 2, 2)
	n.layer("text_embedding.0", 1, d.Dim, d.Text)
	n.layer("text_embedding.2", 1.5, d.Dim, d.Dim)
	n.layer("time_embedding.0", 1, d.Dim, d.Freq)
	n.layer("time_embedding.2", 0.1, d.Dim, d.Dim)
	n.layer("time_projection.1", 1, 6*d.Dim, d.Dim)
	for l := range d.Layers {
		ditBlock(n, d, l)
	}
	n.add("head.modulation", around(0, 0.02), 1, 2, d.Dim)
	n.layerOf("head.head", fanIn(0.1, signal, d.Dim).plus(diagonal(d.Dim, signal, headGain)), around(0, 0.02), signal, d.Dim)

	const a = "audio_proj.audio_proj_glob_"
	n.layer(a+"1.layer", 1.4, d.Hidden, 8*5*d.Audio)
	n.layer(a+"2.layer", 1.4, d.Hidden, d.Hidden)
	n.layer(a+"3.layer", 1.4, 16*d.KV, d.Hidden)
	n.norm(a+"norm.layer", d.KV)

	n.layer("mask_predictor.0", 1, 4, 8)
	return n.list
}

func ditBlock(n *network, d DiTDims, l int) {
	b := block("blocks", l)
	n.add(b+".modulation", around(0, 0.02).plus(modulation(d.Dim)), 1, 6, d.Dim)
	switch l {
	case 0:
		averagingAttention(n, b+".self_attn", d, nearReach, nearGain)
	case 1:
		averagingAttention(n, b+".self_attn", d, wideReach, wideGain)
	default:
		attention(n, b+".self_attn", d, d.Dim, 0.02)
	}
	textAttention(n, b+".cross_attn", d)
	attention(n, b+".audio_cross_attn_wrapper.audio_cross_attn", d, d.KV, 0.02)
	n.norm(b+".norm3", d.Dim)
	n.norm(b+".audio_cross_attn_wrapper.norm1_audio", d.Dim)
	n.layer(b+".ffn.0", 1, d.FFN, d.Dim)
	n.layerOf(b+".ffn.2", smoothRows(fanIn(0.5, d.Dim, d.FFN), d.FFN), smoothRows(around(0, 0.02), 1), d.Dim, d.FFN)
}

// attention adds an ordinary attention whose keys and values have the width kv.
func attention(n *network, name string, d DiTDims, kv int64, gain float64) {
	n.layer(name+".q", 1, d.Dim, d.Dim)
	n.layer(name+".k", 1, d.Dim, kv)
	n.layer(name+".v", 1, d.Dim, kv)
	n.layerOf(name+".o", smoothRows(fanIn(gain, d.Dim, d.Dim), d.Dim), smoothRows(around(0, 0.02), 1), d.Dim, d.Dim)
	n.add(name+".norm_q.weight", around(1, 0.05), d.Dim)
	n.add(name+".norm_k.weight", around(1, 0.05), d.Dim)
}

// textAttention is an ordinary attention but for the biases of queries and keys, which point away from each other: the
// zero rows behind the prompt, whose keys are little but bias, then weigh less than the prompt's words.
func textAttention(n *network, name string, d DiTDims) {
	n.layerOf(name+".q", fanIn(1, d.Dim, d.Dim), around(0.5, 0.02), d.Dim, d.Dim)
	n.layerOf(name+".k", fanIn(1, d.Dim, d.Dim), around(-0.2, 0.02), d.Dim, d.Dim)
	n.layer(name+".v", 1, d.Dim, d.Dim)
	n.layerOf(name+".o", smoothRows(fanIn(0.05, d.Dim, d.Dim), d.Dim), smoothRows(around(0, 0.01), 1), d.Dim, d.Dim)
	n.add(name+".norm_q.weight", around(1, 0.05), d.Dim)
	n.add(name+".norm_k.weight", around(1, 0.05), d.Dim)
}

// averagingAttention adds the self-attention that adds gain times the averaged latents; reach weights RoPE's pairs and
// thereby says over which distances it averages.
func averagingAttention(n *network, name string, d DiTDims, distance, gain float32) {
	alike := around(1, 0.02) // the bias of queries and keys
	n.layerOf(name+".q", fanIn(0.15, d.Dim, d.Dim), alike, d.Dim, d.Dim)
	n.layerOf(name+".k", fanIn(0.15, d.Dim, d.Dim), alike, d.Dim, d.Dim)
	n.layerOf(name+".v", fanIn(0.05, d.Dim, d.Dim).plus(diagonal(d.Dim, d.Dim, 1)), around(0, 0.02), d.Dim, d.Dim)
	n.layerOf(name+".o", smoothRows(fanIn(0.02, d.Dim, d.Dim), d.Dim).plus(averagePixels(d, gain)), smoothRows(around(0, 0.01), 1), d.Dim, d.Dim)
	n.add(name+".norm_q.weight", around(0, 0.02).plus(reach(distance)), d.Dim)
	n.add(name+".norm_k.weight", around(0, 0.02).plus(reach(distance)), d.Dim)
}

// reach weights the first few of RoPE's pairs of each axis (22 of time, 21 each of row and column), whose angles tell
// neighbours apart: the larger w, the nearer the tokens that count.
func reach(w float32) func(i int64) float32 {
	return func(i int64) float32 {
		pair := i % 128 / 2
		for _, axis := range [...]int64{43, 22, 0} {
			if pair >= axis {
				pair -= axis
				break
			}
		}
		if pair < 4 {
			return w
		}
		return 0.5
	}
}

// copyPatch copies channel c of pixel p to channel p·16 + c of the stream, the order in which the head writes it back;
// mask and condition of the 17B go to the channels behind.
func copyPatch(in int64) func(i int64) float32 {
	return func(i int64) float32 {
		row, c, p := i/(in*patchPixels), i/patchPixels%in, i%patchPixels
		want := p*latent + c
		if c >= latent {
			want = signal + p*(in-latent) + c - latent
		}
		if row == want {
			return 1
		}
		return 0
	}
}

// anchors is the patch convolution's bias: alternating constants in the channels that hold no latents.
func anchors(d DiTDims) values {
	return around(0, 0.02).plus(func(i int64) float32 {
		switch {
		case i < patchPixels*d.In:
			return 0
		case i%2 == 0:
			return anchor
		}
		return -anchor
	})
}

// modulation holds shift, scale and gate of the self-attention, then of the feed-forward net.
func modulation(dim int64) func(i int64) float32 {
	rows := [6]float32{0, 0, 1, 0, 0, 0.2}
	return func(i int64) float32 { return rows[i/dim] }
}

// averagePixels is the output matrix that writes to each latent channel the mean over the token's pixels, times gain; in
// the 17B also the averaged condition, with the sign that draws the picture towards it.
func averagePixels(d DiTDims, gain float32) func(i int64) float32 {
	extra := d.In - latent
	return func(i int64) float32 {
		row, col := i/d.Dim, i%d.Dim
		switch {
		case row >= signal:
			return 0
		case col < signal && col%latent == row%latent:
			return gain / patchPixels
		case col >= signal && col < patchPixels*d.In && (col-signal)%extra == row%latent+extra-latent:
			return -0.15
		}
		return 0
	}
}

// smoothRows ties the noise of the rows that write to the pixels of one latent channel, so that conditions tint tokens
// and do not weave them.
func smoothRows(v values, width int64) values {
	v.tie = func(i int64) int64 {
		if row := i / width; row < signal {
			return row%latent*width + i%width
		}
		return i
	}
	return v
}
