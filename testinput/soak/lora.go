package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// fastLoRA is the published name of the adapter that quality "fast" takes by itself.
const fastLoRA = "Wan21_I2V_14B_lightx2v_cfg_step_distill_lora_rank64.safetensors"

func loraFile(variant string) string { return "style-" + variant + ".safetensors" }

// writeLoRAs writes small random adapters for the demo weights in root.
func writeLoRAs(t testing.TB, root string) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	for variant, names := range map[string][]string{"1.7B": {loraFile("1.7B")}, "17B": {loraFile("17B"), fastLoRA}} {
		files, err := weights.Locate(root).Require(variant)
		if err != nil {
			t.Fatal(err)
		}
		ix, err := checkpoint.Open(files.DiT)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			path := filepath.Join(root, "loras", name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, adapter(r, ix), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// adapter is a safetensors file with an adapter of rank 2 for a few layers.
func adapter(r *rand.Rand, ix *checkpoint.Index) []byte {
	const rank = 2
	header, data := map[string]any{}, []byte{}
	put := func(name string, rows, columns int64) {
		begin := len(data)
		for range rows * columns {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(r.NormFloat64()/16)))
		}
		header[name] = map[string]any{"dtype": "F32", "shape": []int64{rows, columns}, "data_offsets": []int{begin, len(data)}}
	}
	for _, layer := range []string{"blocks.0.self_attn.q", "blocks.0.cross_attn.k", "blocks.0.ffn.0", "blocks.1.ffn.2"} {
		shape := ix.Tensors[layer+".weight"].Shape
		put("diffusion_model."+layer+".lora_A.weight", rank, shape[1])
		put("diffusion_model."+layer+".lora_B.weight", shape[0], rank)
	}
	text, err := json.Marshal(header)
	if err != nil { // texts and numbers always encode
		panic(err)
	}
	text = append(text, bytes.Repeat([]byte(" "), (8-len(text)%8)%8)...)
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...), data...)
}
