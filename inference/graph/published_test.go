package graph_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/umt5"
	"github.com/humo-worker/humo-worker/inference/wan"
	"github.com/humo-worker/humo-worker/inference/whisper"
)

// listing is a checkpoint's list of tensors, without the data: graphs need no more.
type listing struct {
	dtype checkpoint.DType
	*checkpoint.Index
}

func newListing(path string, dtype checkpoint.DType) *listing {
	return &listing{dtype, &checkpoint.Index{Path: path, Tensors: map[string]*checkpoint.Tensor{}}}
}

func (l *listing) add(name string, shape ...int64) {
	stride, step := make([]int64, len(shape)), int64(1)
	for i := len(shape) - 1; i >= 0; i-- {
		stride[i], step = step, step*shape[i]
	}
	l.Tensors[name] = &checkpoint.Tensor{Name: name, DType: l.dtype, Shape: shape, Stride: stride, File: l.Path}
}

// linear adds a layer's weight and bias.
func (l *listing) linear(name string, out, in int64) {
	l.add(name+".weight", out, in)
	l.add(name+".bias", out)
}

// norm adds an affine norm.
func (l *listing) norm(name string, d int64) {
	l.add(name+".weight", d)
	l.add(name+".bias", d)
}

// publishedDiT has the sizes of the published 1.7B (float32) or 17B (bf16).
func publishedDiT(t *testing.T, variant string) *wan.DiT {
	t.Helper()
	d, in, ffn, blocks, dtype := int64(1536), int64(16), int64(8960), 30, checkpoint.F32
	if variant == "17B" {
		d, in, ffn, blocks, dtype = 5120, 36, 13824, 40, checkpoint.BF16
	}
	const kv, hidden, window = 1536, 512, 8 * 5 * 1280
	l := newListing("/humo/"+variant, dtype)
	l.add("patch_embedding.weight", d, in, 1, 2, 2)
	l.add("patch_embedding.bias", d)
	l.linear("text_embedding.0", d, 4096)
	l.linear("text_embedding.2", d, d)
	l.linear("time_embedding.0", d, 256)
	l.linear("time_embedding.2", d, d)
	l.linear("time_projection.1", 6*d, d)
	l.linear("audio_proj.audio_proj_glob_1.layer", hidden, window)
	l.linear("audio_proj.audio_proj_glob_2.layer", hidden, hidden)
	l.linear("audio_proj.audio_proj_glob_3.layer", wan.AudioTokens*kv, hidden)
	l.norm("audio_proj.audio_proj_glob_norm.layer", kv)
	l.add("head.modulation", 1, 2, d)
	l.linear("head.head", 64, d)
	for i := range blocks {
		at := fmt.Sprintf("blocks.%d.", i)
		const audio = "audio_cross_attn_wrapper.audio_cross_attn"
		l.add(at+"modulation", 1, 6, d)
		l.norm(at+"norm3", d)
		l.norm(at+"audio_cross_attn_wrapper.norm1_audio", d)
		for _, attention := range []string{"self_attn", "cross_attn", audio} {
			for _, part := range []string{"q", "k", "v", "o"} {
				from := d
				if attention == audio && (part == "k" || part == "v") {
					from = kv
				}
				l.linear(at+attention+"."+part, d, from)
			}
			l.add(at+attention+".norm_q.weight", d)
			l.add(at+attention+".norm_k.weight", d)
		}
		l.linear(at+"ffn.0", ffn, d)
		l.linear(at+"ffn.2", d, ffn)
	}
	m, unused, err := wan.LoadDiT(l.Index)
	if err != nil || len(unused) > 0 {
		t.Fatal(err, unused)
	}
	return m
}

// publishedVAE is the golden set's VAE with its channels multiplied until there are as many as the published file has.
func publishedVAE(t *testing.T) *wan.VAE {
	t.Helper()
	small, err := checkpoint.Open("../../testdata/golden/dev/weights/Wan2.1-T2V-1.3B/Wan2.1_VAE.pth")
	if err != nil {
		t.Fatal(err)
	}
	times := 96 / small.Tensors["decoder.head.0.gamma"].Shape[0]
	// What does not depend on the width: pictures, latents and the two layers between latents.
	fixed := map[string]int{"conv1": 0, "conv2": 0, "encoder.head.2": 0, "decoder.head.2": 0, "encoder.conv1": 1, "decoder.conv1": 1}
	l := newListing("/vae", checkpoint.F32)
	for name, tensor := range small.Tensors {
		shape := slices.Clone(tensor.Shape)
		axis, some := fixed[name[:strings.LastIndexByte(name, '.')]]
		for i := range min(2, len(shape)) {
			if shape[i] > 1 && !strings.HasPrefix(name, "conv") && (!some || axis != i) {
				shape[i] *= times
			}
		}
		l.add(name, shape...)
	}
	v, unused, err := wan.LoadVAE(l.Index)
	if err != nil || len(unused) > 0 {
		t.Fatal(err, unused)
	}
	return v
}

// publishedUMT5 has the sizes of UMT5-XXL's encoder.
func publishedUMT5(t *testing.T) *umt5.Encoder {
	t.Helper()
	const d, ffn, heads = 4096, 10240, 64
	l := newListing("/umt5", checkpoint.BF16)
	l.add("token_embedding.weight", 256384, d)
	l.add("norm.weight", d)
	for i := range 24 {
		at := fmt.Sprintf("blocks.%d.", i)
		l.add(at+"norm1.weight", d)
		l.add(at+"norm2.weight", d)
		for _, part := range []string{"q", "k", "v", "o"} {
			l.add(at+"attn."+part+".weight", d, d)
		}
		l.add(at+"pos_embedding.embedding.weight", 32, heads)
		l.add(at+"ffn.gate.0.weight", ffn, d)
		l.add(at+"ffn.fc1.weight", ffn, d)
		l.add(at+"ffn.fc2.weight", d, ffn)
	}
	m, unused, err := umt5.LoadEncoder(l.Index)
	if err != nil || len(unused) > 0 {
		t.Fatal(err, unused)
	}
	return m
}

// publishedWhisper has the sizes of whisper-large-v3's encoder.
func publishedWhisper(t *testing.T) *whisper.Encoder {
	t.Helper()
	const d, heads = 1280, 20
	l := newListing("/whisper", checkpoint.F16)
	const at = "model.encoder."
	l.add(at+"conv1.weight", d, 128, 3)
	l.add(at+"conv1.bias", d)
	l.add(at+"conv2.weight", d, d, 3)
	l.add(at+"conv2.bias", d)
	l.add(at+"embed_positions.weight", 1500, d)
	l.norm(at+"layer_norm", d)
	for i := range 32 {
		at := fmt.Sprintf(at+"layers.%d.", i)
		l.norm(at+"self_attn_layer_norm", d)
		l.norm(at+"final_layer_norm", d)
		l.linear(at+"self_attn.q_proj", d, d)
		l.add(at+"self_attn.k_proj.weight", d, d)
		l.linear(at+"self_attn.v_proj", d, d)
		l.linear(at+"self_attn.out_proj", d, d)
		l.linear(at+"fc1", 4*d, d)
		l.linear(at+"fc2", d, 4*d)
	}
	m, unused, err := whisper.LoadEncoder(l.Index, heads)
	if err != nil || len(unused) > 0 {
		t.Fatal(err, unused)
	}
	return m
}
