package inference

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/golden/goldentest"
	"github.com/humo-worker/humo-worker/inference/lora"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/plan"
	"github.com/humo-worker/humo-worker/inference/wan"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// matrix is a float32 tensor of a file that a test writes.
type matrix struct {
	shape []int64
	data  []float32
}

func randomMatrix(r *rand.Rand, shape ...int64) matrix {
	m := matrix{shape: shape}
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	for range n {
		m.data = append(m.data, float32(r.NormFloat64())/8)
	}
	return m
}

// writeTensors writes a safetensors file; bf16 keeps the upper half of every value.
func writeTensors(t *testing.T, path string, bf16 bool, tensors map[string]matrix) {
	t.Helper()
	header, data := map[string]any{}, []byte{}
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		begin, dtype := len(data), "F32"
		for _, v := range tensors[name].data {
			if data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v)); bf16 {
				data = append(data[:len(data)-4], data[len(data)-2:]...)
				dtype = "BF16"
			}
		}
		shape := append([]int64{}, tensors[name].shape...)
		header[name] = map[string]any{"dtype": dtype, "shape": shape, "data_offsets": []int{begin, len(data)}}
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	file := append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(file, data...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// adapted is one layer of a test's adapter.
type adapted struct {
	layer    string
	down, up matrix
	alpha    float64 // 0: not written
}

// adapter draws one for layers of every kind: both attentions, feed-forward, embeddings, the audio branch, the convolution.
func adapter(r *rand.Rand, ix *checkpoint.Index, rank int64, alpha float64) (all []adapted) {
	for _, layer := range []string{"blocks.0.self_attn.q", "blocks.0.self_attn.o", "blocks.0.cross_attn.k", "blocks.0.ffn.0", "blocks.0.ffn.2",
		"blocks.0.audio_cross_attn_wrapper.audio_cross_attn.v", "text_embedding.0", "time_projection.1", "head.head", "patch_embedding",
		"audio_proj.audio_proj_glob_1.layer"} {
		shape := ix.Tensors[layer+".weight"].Shape
		downShape, upShape := slices.Concat([]int64{rank}, shape[1:]), []int64{shape[0], rank}
		for range shape[2:] {
			upShape = append(upShape, 1)
		}
		all = append(all, adapted{layer, randomMatrix(r, downShape...), randomMatrix(r, upShape...), alpha})
	}
	return all
}

// styles write an adapter's tensors under the names that trainers give them.
var styles = map[string]func([]adapted) map[string]matrix{
	"kohya": func(all []adapted) map[string]matrix {
		return named(all, func(layer string) string { return "lora_unet_" + strings.ReplaceAll(layer, ".", "_") }, ".lora_down.weight", ".lora_up.weight")
	},
	"peft": func(all []adapted) map[string]matrix {
		return named(all, func(layer string) string { return "diffusion_model." + layer }, ".lora_A.weight", ".lora_B.weight")
	},
	"bare": func(all []adapted) map[string]matrix {
		return named(all, func(layer string) string { return layer }, ".lora_A.default.weight", ".lora_B.default.weight")
	},
	"diffusers": func(all []adapted) map[string]matrix {
		r := strings.NewReplacer("blocks.0.self_attn.q", "blocks.0.attn1.to_q", "blocks.0.self_attn.o", "blocks.0.attn1.to_out.0", "blocks.0.cross_attn.k", "blocks.0.attn2.to_k",
			"blocks.0.ffn.0", "blocks.0.ffn.net.0.proj", "blocks.0.ffn.2", "blocks.0.ffn.net.2", "text_embedding.0", "condition_embedder.text_embedder.linear_1",
			"time_projection.1", "condition_embedder.time_proj", "head.head", "proj_out")
		return named(all, func(layer string) string { return "transformer." + r.Replace(layer) }, ".lora_down.weight", ".lora_up.weight")
	},
}

func named(all []adapted, name func(string) string, down, up string) map[string]matrix {
	out := map[string]matrix{}
	for _, a := range all {
		out[name(a.layer)+down], out[name(a.layer)+up] = a.down, a.up
		if a.alpha != 0 {
			out[name(a.layer)+".alpha"] = matrix{data: []float32{float32(a.alpha)}}
		}
	}
	return out
}

// merge adds strength·(alpha/rank)·up·down to the layers' weights, in float64.
func merge(into map[string]matrix, all []adapted, strength float64) {
	for _, a := range all {
		w, rank, columns := into[a.layer+".weight"], a.down.shape[0], int64(len(a.down.data))/a.down.shape[0]
		scale := strength
		if a.alpha != 0 {
			scale *= a.alpha / float64(rank)
		}
		for i := range w.shape[0] {
			for j := range columns {
				sum := 0.0
				for k := range rank {
					sum += float64(a.up.data[i*rank+k]) * float64(a.down.data[k*columns+j])
				}
				w.data[i*columns+j] += float32(scale * sum)
			}
		}
	}
}

// load reads a checkpoint's tensors, widened.
func load(t *testing.T, ix *checkpoint.Index) map[string]matrix {
	t.Helper()
	out := map[string]matrix{}
	for name, w := range ix.Tensors {
		data, err := w.Float32()
		if err != nil {
			t.Fatal(err)
		}
		out[name] = matrix{w.Shape, data}
	}
	return out
}

// workshop is an engine on the golden weights with a folder for adapters.
func workshop(t *testing.T) (*Engine, string) {
	t.Helper()
	dir := t.TempDir()
	e, err := Open(Config{Weights: weights.Config{Root: goldenWeights}, LoRA: lora.Config{Dir: dir}, ORT: ort.Config{Library: os.Getenv("ONNXRUNTIME_LIB")}}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e, dir
}

// forward runs the whole transformer, text and audio layers included, on the golden case's inputs.
func forward(t *testing.T, dit *Transformer, variant Variant) []float32 {
	t.Helper()
	c := goldentest.Open(t, map[Variant]string{Variant1B: "dit_1_7b_grid0", Variant17B: "dit_17b_grid0"}[variant])
	shape := c.Shape(t, "in.x")
	x := c.Floats(t, "in.x")
	if variant == Variant17B {
		x = append(x, c.Floats(t, "in.y")...)
	}
	size := wan.Grid{Frames: shape[1], Height: shape[2], Width: shape[3]}
	return predict(t, dit, size, c.Floats(t, "in.context"), c.Floats(t, "in.audio"), x, c.Ints(t, "in.t")[0])
}

// predict makes a transformer's keys and runs one pass.
func predict(t *testing.T, dit *Transformer, size wan.Grid, context, windows, latents []float32, timestep int64) []float32 {
	t.Helper()
	text, err := dit.TextKeys(t.Context(), &TextEmbedding{Data: context})
	if err != nil {
		t.Fatal(err)
	}
	audio, err := dit.AudioKeys(t.Context(), windows, int(size.Frames))
	if err != nil {
		t.Fatal(err)
	}
	f, err := dit.Prepare(t.Context(), size)
	if err != nil {
		t.Fatal(err)
	}
	step, err := f.Step(t.Context(), timestep)
	if err != nil {
		t.Fatal(err)
	}
	if err := step.Begin(t.Context(), latents); err != nil {
		t.Fatal(err)
	}
	velocity, err := step.Pass(t.Context(), text, audio)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []io.Closer{text, audio, step, f} {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	return velocity
}

// with gives the transformer with adapters as a clip has it.
func (e *Engine) with(t *testing.T, dit *Transformer, loras ...LoRA) *Transformer {
	t.Helper()
	s := &Spec{LoRAs: loras}
	paths, err := e.findLoRAs(s)
	if err != nil {
		t.Fatal(err)
	}
	adapted, err := e.adapt(t.Context(), s, dit, paths)
	if err != nil {
		t.Fatal(err)
	}
	return adapted
}

func furthest(t *testing.T, a, b []float32) (most, size float64) {
	t.Helper()
	if len(a) != len(b) || len(a) == 0 {
		t.Fatalf("%d and %d values", len(a), len(b))
	}
	for i := range a {
		most, size = max(most, math.Abs(float64(a[i])-float64(b[i]))), max(size, math.Abs(float64(b[i])))
	}
	return most, size
}

// The transformer with adapters beside its layers computes what one computes whose weights they were merged into: in every
// key style, at every strength, alone and two at once, on the fp32 1.7B and the bf16 17B.
func TestLoRAEqualsMergedWeights(t *testing.T) {
	e, dir := workshop(t)
	for _, variant := range []Variant{Variant1B, Variant17B} {
		m, err := e.Models(variant)
		if err != nil {
			t.Fatal(err)
		}
		base := forward(t, m.Transformer, variant)
		r := rand.New(rand.NewPCG(5, 6))
		first, second := adapter(r, m.Transformer.ix, 4, 2), adapter(r, m.Transformer.ix, 3, 0)
		for style, write := range styles {
			writeTensors(t, filepath.Join(dir, style+".safetensors"), false, write(first))
		}
		writeTensors(t, filepath.Join(dir, "second.safetensors"), false, styles["peft"](second))
		for _, c := range []struct {
			name   string
			first  float64
			second float64
		}{{"half", 0.5, 0}, {"whole", 1, 0}, {"two", 1, 0.5}, {"negative", -1.5, 0}} {
			merged := load(t, m.Transformer.ix)
			merge(merged, first, c.first)
			merge(merged, second, c.second)
			file := filepath.Join(t.TempDir(), "merged.safetensors")
			writeTensors(t, file, false, merged)
			twin, _, err := openTransformer(e.site(plan.DiT), file)
			if err != nil {
				t.Fatal(err)
			}
			want := forward(t, twin, variant)
			if change, _ := furthest(t, want, base); change < 1e-2 {
				t.Fatalf("%s %s: the adapter changes the result by %g only", variant, c.name, change)
			}
			for style := range styles {
				loras := []LoRA{{Name: style + ".safetensors", Strength: c.first}}
				if c.second != 0 {
					loras = append(loras, LoRA{Name: "second.safetensors", Strength: c.second})
				}
				got := forward(t, e.with(t, m.Transformer, loras...), variant)
				off, size := furthest(t, got, want)
				if !(off <= 1e-5) { // NaN fails too
					t.Errorf("%s %s %s: off by %.2g of %.2g", variant, c.name, style, off, size)
				}
				t.Logf("%s %s %s: off by %.2g of %.2g", variant, c.name, style, off, size)
			}
		}
		for style := range styles {
			if got := forward(t, e.with(t, m.Transformer, LoRA{Name: style + ".safetensors"}), variant); !slices.Equal(got, base) {
				t.Errorf("%s %s: strength 0 is not bit-equal to none", variant, style)
			}
		}
		if again := forward(t, m.Transformer, variant); !slices.Equal(again, base) {
			t.Errorf("%s: an adapter changed the transformer of other clips", variant)
		}
	}
}

// lightx2v's files also hold differences of whole weights and biases, and entries for parts that HuMo has not.
func TestLoRADifferences(t *testing.T) {
	e, dir := workshop(t)
	m, err := e.Models(Variant17B)
	if err != nil {
		t.Fatal(err)
	}
	ix, r := m.Transformer.ix, rand.New(rand.NewPCG(7, 8))
	merged, entries := load(t, ix), map[string]matrix{}
	for key, name := range map[string]string{
		"diffusion_model.blocks.0.self_attn.q.diff_b":                                 "blocks.0.self_attn.q.bias",
		"diffusion_model.blocks.0.self_attn.norm_k.diff":                              "blocks.0.self_attn.norm_k.weight",
		"diffusion_model.blocks.0.norm3.diff":                                         "blocks.0.norm3.weight",
		"diffusion_model.blocks.0.norm3.diff_b":                                       "blocks.0.norm3.bias",
		"diffusion_model.blocks.0.diff_m":                                             "blocks.0.modulation",
		"diffusion_model.head.modulation.diff":                                        "head.modulation",
		"diffusion_model.patch_embedding.diff":                                        "patch_embedding.weight",
		"diffusion_model.time_embedding.2.diff":                                       "time_embedding.2.weight",
		"diffusion_model.blocks.0.audio_cross_attn_wrapper.audio_cross_attn.o.diff_b": "blocks.0.audio_cross_attn_wrapper.audio_cross_attn.o.bias",
	} {
		entries[key] = randomMatrix(r, ix.Tensors[name].Shape...)
		for i, v := range entries[key].data {
			merged[name].data[i] += 0.5 * v
		}
	}
	entries["diffusion_model.blocks.0.cross_attn.k_img.lora_down.weight"] = randomMatrix(r, 2, 3)
	entries["diffusion_model.img_emb.proj.1.diff_b"] = randomMatrix(r, 3)
	writeTensors(t, filepath.Join(dir, "x.safetensors"), false, entries)
	file := filepath.Join(t.TempDir(), "merged.safetensors")
	writeTensors(t, file, false, merged)
	twin, _, err := openTransformer(e.site(plan.DiT), file)
	if err != nil {
		t.Fatal(err)
	}
	got, want := forward(t, e.with(t, m.Transformer, LoRA{Name: "x.safetensors", Strength: 0.5}), Variant17B), forward(t, twin, Variant17B)
	if off, size := furthest(t, got, want); !(off <= 1e-5*max(1, size)) {
		t.Errorf("off by %.2g of %.2g", off, size)
	}
	if change, _ := furthest(t, want, forward(t, m.Transformer, Variant17B)); change < 1e-2 {
		t.Errorf("the differences change the result by %g only", change)
	}
}

// An adapter that does not fit is refused with the layer and the shapes, before a network runs.
func TestLoRARefused(t *testing.T) {
	e, dir := workshop(t)
	r := rand.New(rand.NewPCG(9, 10))
	try := func(l LoRA) error {
		s := spec(t)
		s.Mode, s.LoRAs = TA, []LoRA{l}
		_, err := e.Denoise(t.Context(), &s, &Material{Wave: make([]float32, 16000)}, func(stage Stage) func(int, int) {
			t.Errorf("%q: the %s encoder ran", l.Name, stage)
			return func(int, int) {}
		})
		return err
	}
	pair := func(layer string, down, up []int64) map[string]matrix {
		return map[string]matrix{layer + ".lora_A.weight": randomMatrix(r, down...), layer + ".lora_B.weight": randomMatrix(r, up...)}
	}
	with := func(m map[string]matrix, key string, shape ...int64) map[string]matrix {
		m[key] = randomMatrix(r, shape...)
		return m
	}
	const q = "blocks.0.self_attn.q"
	d := []int64{4, 128}
	for name, c := range map[string]struct {
		tensors map[string]matrix
		code    string
		says    []string
	}{
		"width":         {pair(q, []int64{4, 64}, []int64{128, 4}), "lora_mismatch", []string{"layer " + q, "[4 64]", "[128 4]", "[128 128]"}},
		"rows":          {pair(q, d, []int64{64, 4}), "lora_mismatch", []string{"layer " + q, "[64 4]", "[128 128]"}},
		"rank":          {pair(q, d, []int64{128, 3}), "lora_mismatch", []string{"layer " + q, "[128 3]"}},
		"no such layer": {pair("blocks.7.self_attn.q", d, []int64{128, 4}), "lora_mismatch", []string{"blocks.7.self_attn.q", "[4 128]"}},
		"no linear":     {pair("blocks.0.norm3", d, []int64{128, 4}), "lora_mismatch", []string{"blocks.0.norm3", "linear"}},
		"difference":    {map[string]matrix{q + ".diff": randomMatrix(r, 128, 64)}, "lora_mismatch", []string{q, "[128 64]", "[128 128]"}},
		"no bias":       {map[string]matrix{"blocks.0.self_attn.norm_q.diff_b": randomMatrix(r, 128)}, "lora_mismatch", []string{"blocks.0.self_attn.norm_q", "nothing"}},
		"half a pair":   {map[string]matrix{q + ".lora_A.weight": randomMatrix(r, 4, 128)}, "lora_invalid", []string{q, "half"}},
		"another kind":  {with(pair(q, d, []int64{128, 4}), q+".dora_scale", 128), "lora_invalid", []string{q + ".dora_scale"}},
		"alpha":         {with(pair(q, d, []int64{128, 4}), q+".alpha", 2), "lora_invalid", []string{q + ".alpha", "number"}},
		"twice":         {with(pair(q, d, []int64{128, 4}), "lora_unet_blocks_0_self_attn_q.lora_down.weight", 4, 128), "lora_invalid", []string{"two entries", q}},
		"nothing":       {map[string]matrix{"lora_te1_text_model.lora_down.weight": randomMatrix(r, 4, 4)}, "lora_invalid", []string{"another model"}},
	} {
		for _, strength := range []float64{1, 0} {
			writeTensors(t, filepath.Join(dir, "bad.safetensors"), true, c.tensors)
			err := try(LoRA{Name: "bad.safetensors", Strength: strength})
			if fault.CodeOf(err) != c.code {
				t.Errorf("%s: %v, want %s", name, err, c.code)
				continue
			}
			for _, says := range append(c.says, "loras[0]", "bad.safetensors") {
				if !strings.Contains(err.Error(), says) {
					t.Errorf("%s: %q does not say %q", name, err, says)
				}
			}
		}
	}
	for name, data := range map[string]string{"pickle": "\x80\x02}q\x00.", "zip": "PK\x03\x04 and more", "index": `{"weight_map": {}}`, "short": "x", "cut": string(binary.LittleEndian.AppendUint64(nil, 90)) + `{"a":`} {
		if err := os.WriteFile(filepath.Join(dir, "bad.safetensors"), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := try(LoRA{Name: "bad.safetensors", Strength: 1}); fault.CodeOf(err) != "lora_invalid" {
			t.Errorf("%s: %v", name, err)
		}
	}
	outside := filepath.Join(filepath.Dir(dir), "outside.safetensors")
	writeTensors(t, outside, false, pair(q, d, []int64{128, 4}))
	for _, name := range []string{"../outside.safetensors", outside, "a/b.safetensors", `..\outside.safetensors`, "https://example.com/a.safetensors", "a.pt", ".safetensors", "a\x00.safetensors"} {
		if err := try(LoRA{Name: name, Strength: 1}); fault.CodeOf(err) != "lora_name" {
			t.Errorf("%q: %v", name, err)
		}
	}
	absent := LoRA{Name: "absent.safetensors", Strength: 1}
	if err := try(absent); fault.CodeOf(err) != "lora_not_found" || !strings.Contains(err.Error(), "bad.safetensors") {
		t.Errorf("absent: %v", err)
	}
	s := spec(t)
	s.LoRAs = []LoRA{absent}
	if _, err := e.Estimate(t.Context(), s); fault.CodeOf(err) != "lora_not_found" {
		t.Errorf("estimate: %v", err)
	}
}
