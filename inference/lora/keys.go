package lora

import (
	"regexp"
	"strings"

	"github.com/humo-worker/humo-worker/inference/nn"
)

// part is what an entry holds of its layer.
type part uint8

const (
	down     part = iota // [rank, in]
	up                   // [out, rank]
	alpha                // a number: the layer's scale is alpha/rank
	diff                 // added to the weight
	diffBias             // added to the bias
	parts
)

// endings are how the styles write a key's part: kohya and lightx2v, peft, older diffusers.
var endings = []struct {
	text string
	part part
}{
	{".lora_down.weight", down}, {".lora_up.weight", up},
	{".lora_A.weight", down}, {".lora_B.weight", up},
	{".lora.down.weight", down}, {".lora.up.weight", up},
	{".alpha", alpha}, {".diff", diff}, {".diff_b", diffBias},
}

// beginnings are what the styles write before a layer's name.
var beginnings = []string{"model.", "diffusion_model.", "transformer.", "pipe.dit.", "base_model.model."}

// split cuts a key into the layer's name, in its style, and the part. flat: dots are written as underscores.
func split(key string) (layer string, flat bool, p part, ok bool) {
	key = strings.Replace(key, ".default.", ".", 1) // peft's name of an only adapter
	if owner, cut := strings.CutSuffix(key, ".diff_m"); cut {
		key = owner + ".modulation.diff"
	}
	for _, e := range endings {
		if layer, ok = strings.CutSuffix(key, e.text); ok {
			p = e.part
			break
		}
	}
	if !ok {
		return "", false, 0, false
	}
	if rest, cut := strings.CutPrefix(layer, "lora_unet_"); cut {
		return strings.TrimPrefix(rest, "_"), true, p, true
	}
	for again := true; again; {
		again = false
		for _, b := range beginnings {
			if rest, cut := strings.CutPrefix(layer, b); cut {
				layer, again = rest, true
			}
		}
	}
	return layer, false, p, true
}

// absent are parts of Wan's image-to-video models, and text encoders, which adapters for those hold and HuMo has not.
var absent = regexp.MustCompile(`(^|[._])(k_img|v_img|norm_k_img|add_k_proj|add_v_proj|norm_added_k|img_emb|image_embedder)([._]|$)|^lora_te\d*_|^text_encoder\.`)

// owners lists the network's layers under all names that the styles have for them. A layer is what owns a weight or a
// bias, or is itself a weight.
func owners(p nn.Parts) (dotted, flat map[string]string) {
	dotted, flat = map[string]string{}, map[string]string{}
	for name := range p.Weights {
		owner, ok := strings.CutSuffix(name, ".weight")
		if !ok {
			owner = strings.TrimSuffix(name, ".bias")
		}
		for _, n := range []string{owner, diffusersName(owner)} {
			dotted[n], flat[strings.ReplaceAll(n, ".", "_")] = owner, owner
		}
	}
	return dotted, flat
}

// diffusersNames turn Wan's own names into those of the diffusers library.
var diffusersNames = []struct {
	own       *regexp.Regexp
	diffusers string
}{
	{regexp.MustCompile(`^(blocks\.\d+)\.self_attn\.([qkv])$`), "${1}.attn1.to_${2}"},
	{regexp.MustCompile(`^(blocks\.\d+)\.self_attn\.o$`), "${1}.attn1.to_out.0"},
	{regexp.MustCompile(`^(blocks\.\d+)\.self_attn\.(norm_[qk])$`), "${1}.attn1.${2}"},
	{regexp.MustCompile(`^(blocks\.\d+)\.cross_attn\.([qkv])$`), "${1}.attn2.to_${2}"},
	{regexp.MustCompile(`^(blocks\.\d+)\.cross_attn\.o$`), "${1}.attn2.to_out.0"},
	{regexp.MustCompile(`^(blocks\.\d+)\.cross_attn\.(norm_[qk])$`), "${1}.attn2.${2}"},
	{regexp.MustCompile(`^(blocks\.\d+)\.ffn\.0$`), "${1}.ffn.net.0.proj"},
	{regexp.MustCompile(`^(blocks\.\d+)\.ffn\.2$`), "${1}.ffn.net.2"},
	{regexp.MustCompile(`^(blocks\.\d+)\.norm3$`), "${1}.norm2"},
	{regexp.MustCompile(`^(blocks\.\d+)\.modulation$`), "${1}.scale_shift_table"},
	{regexp.MustCompile(`^time_embedding\.0$`), "condition_embedder.time_embedder.linear_1"},
	{regexp.MustCompile(`^time_embedding\.2$`), "condition_embedder.time_embedder.linear_2"},
	{regexp.MustCompile(`^text_embedding\.0$`), "condition_embedder.text_embedder.linear_1"},
	{regexp.MustCompile(`^text_embedding\.2$`), "condition_embedder.text_embedder.linear_2"},
	{regexp.MustCompile(`^time_projection\.1$`), "condition_embedder.time_proj"},
	{regexp.MustCompile(`^head\.head$`), "proj_out"},
}

func diffusersName(owner string) string {
	for _, n := range diffusersNames {
		if n.own.MatchString(owner) {
			return n.own.ReplaceAllString(owner, n.diffusers)
		}
	}
	return owner
}
