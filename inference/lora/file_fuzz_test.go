package lora

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/nn"
)

// network is one linear layer of [4, 3] with a bias, and a modulation of [1, 6].
func network() (nn.Parts, *nn.Linear, *graph.Weight) {
	weight := func(name string, shape ...int64) graph.Weight {
		return graph.Weight{Tensor: &checkpoint.Tensor{Name: name, DType: checkpoint.F32, Shape: shape}}
	}
	linear := &nn.Linear{Weight: weight("blocks.0.self_attn.q.weight", 4, 3), Bias: weight("blocks.0.self_attn.q.bias", 4)}
	modulation := weight("blocks.0.modulation", 1, 6)
	return nn.Parts{
		Linears: map[string]*nn.Linear{"blocks.0.self_attn.q": linear},
		Weights: map[string]*graph.Weight{
			"blocks.0.self_attn.q.weight": &linear.Weight, "blocks.0.self_attn.q.bias": &linear.Bias, "blocks.0.modulation": &modulation,
		},
	}, linear, &modulation
}

// adapter is a header of F32 entries and their numbers; an entry's shape follows its key.
func adapter(entries ...any) (header string, data []byte) {
	var fields []string
	at := 0
	for i := 0; i < len(entries); i += 2 {
		n := 4
		for _, d := range entries[i+1].([]int) {
			n *= d
		}
		fields = append(fields, fmt.Sprintf(`%q:{"dtype":"F32","shape":%s,"data_offsets":[%d,%d]}`, entries[i],
			strings.ReplaceAll(fmt.Sprint(entries[i+1]), " ", ","), at, at+n))
		at += n
	}
	for range at / 4 {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(1.5))
	}
	return "{" + strings.Join(fields, ",") + "}", data
}

// FuzzAttach opens any header and data as an adapter. It is a short fault with a code of this room and the network is as it was, or every
// entry of the file is where it belongs: beside its layer with a finite scale and shapes that multiply to the weight's, or
// among the unused.
func FuzzAttach(f *testing.F) {
	q := "blocks.0.self_attn.q"
	for _, entries := range [][]any{
		{"diffusion_model." + q + ".lora_A.weight", []int{2, 3}, "diffusion_model." + q + ".lora_B.weight", []int{4, 2}},
		{"lora_unet_blocks_0_self_attn_q.lora_down.weight", []int{1, 3}, "lora_unet_blocks_0_self_attn_q.lora_up.weight", []int{4, 1}, "lora_unet_blocks_0_self_attn_q.alpha", []int{}},
		{"transformer.blocks.0.attn1.to_q.lora.down.weight", []int{2, 3}, "transformer.blocks.0.attn1.to_q.lora.up.weight", []int{4, 2}},
		{q + ".diff", []int{4, 3}, q + ".diff_b", []int{4}, "blocks.0.diff_m", []int{1, 6}},
		{"img_emb.proj.0.diff", []int{2}, "lora_te1_x.alpha", []int{1}},
		{q + ".lora_A.weight", []int{2, 3}},
		{q + ".lora_A.weight", []int{0, 3}, q + ".lora_B.weight", []int{4, 0}},
	} {
		header, data := adapter(entries...)
		f.Add(header, data, 1.0)
		f.Add(header, data, -0.5)
	}
	huge, data := adapter(q+".alpha", []int{}, q+".lora_A.weight", []int{1, 3}, q+".lora_B.weight", []int{4, 1})
	f.Add(huge, append(binary.LittleEndian.AppendUint32(nil, math.Float32bits(math.MaxFloat32)), data[4:]...), 4.0)
	f.Add("PK no adapter", []byte{1}, 1.0)
	path := filepath.Join(f.TempDir(), "a"+extension)
	f.Fuzz(func(t *testing.T, header string, data []byte, strength float64) {
		if math.IsNaN(strength) || math.Abs(strength) > 4 { // what a job may ask for
			return
		}
		b := append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...)
		if err := os.WriteFile(path, append(b, data...), 0o600); err != nil {
			t.Fatal(err)
		}
		parts, linear, modulation := network()
		adapter, err := Open("loras[0]", path)
		var unused []string
		if err == nil {
			unused, err = adapter.Attach(parts, strength)
		}
		attached := len(linear.Sides) + len(linear.Weight.Deltas) + len(linear.Bias.Deltas) + len(modulation.Deltas)
		if err != nil {
			if code := fault.CodeOf(err); code != "lora_invalid" && code != "lora_mismatch" || len(err.Error()) > 4096 || attached > 0 {
				t.Fatalf("%d attached, code %s, %d bytes: %.300v", attached, code, len(err.Error()), err)
			}
			return
		}
		entries := len(unused)
		for _, s := range linear.Sides {
			if math.IsInf(float64(s.Scale), 0) || math.IsNaN(float64(s.Scale)) || s.Up.Shape[0] != 4 || product(s.Down.Shape[1:]) != 3 || product(s.Up.Shape[1:]) != s.Down.Shape[0] {
				t.Fatalf("a side %v x %v, %g times", s.Up.Shape, s.Down.Shape, s.Scale)
			}
			entries += 2
		}
		for _, w := range []*graph.Weight{&linear.Weight, &linear.Bias, modulation} {
			for _, d := range w.Deltas {
				if !slices.Equal(d.Shape, w.Shape) {
					t.Fatalf("%v is added to %v", d.Shape, w.Shape)
				}
				entries++
			}
		}
		for name := range adapter.tensors {
			if strings.HasSuffix(name, ".alpha") && !slices.Contains(unused, name) {
				entries++
			}
		}
		if strength == 0 && attached > 0 || strength != 0 && entries != len(adapter.tensors) {
			t.Fatalf("of %d entries %d are used or unused, %d attached, strength %g", len(adapter.tensors), entries, attached, strength)
		}
	})
}
