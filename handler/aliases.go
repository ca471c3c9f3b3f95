package handler

import (
	"encoding/json"
	"slices"
	"strings"
)

// The original's configuration is a tree (generation.frames); here its leaves are other names of fields. A tree and its
// dotted form are read alike: {"generation": {"frames": 97}} and {"generation.frames": 97}.

// unused are the keys of the original's configuration files that decide nothing here: where weights lie and results
// go is the affair of other settings, and the rest is not read by the original's own inference either. dit.sp_size is
// the worker's (Config.Cards), not a job's. A star stands for whatever lies below.
var unused = []string{
	"__object__.*", "dit.model.*", "dit.zero_vae_path", "dit.zero_vae_720p_path", "dit.checkpoint_dir", "dit.compile",
	"dit.init_with_meta_device", "dit.gradient_checkpoint", "dit.fsdp.sharding_strategy", "dit.sp_size",
	"vae.checkpoint", "vae.vae_stride", "vae.scaling_factor", "vae.compile", "vae.grouping", "vae.use_sample", "vae.dtype",
	"text.t5_checkpoint", "text.t5_tokenizer", "text.dropout", "text.dtype", "text.fsdp.enabled", "text.fsdp.sharding_strategy",
	"diffusion.schedule.type", "diffusion.schedule.T", "diffusion.sampler.type", "diffusion.sampler.prediction_type",
	"diffusion.timesteps.training.type", "diffusion.timesteps.training.loc", "diffusion.timesteps.training.scale",
	"diffusion.timesteps.sampling.type", "audio.vocal_separator", "audio.wav2vec_model",
	"generation.extract_audio_feat", "generation.batch_size", "generation.sequence_parallel", "generation.output.dir",
	"generation.positive_prompt",
}

// vocabulary is the set of names that an object may hold.
type vocabulary struct {
	fields  []string // the contract's own names
	aliases []string // dotted where a name lies deeper
	unused  []string // as in the list above
}

// words are the names that the top of the object, or the part of it below prefix, may hold: whole names, and every
// beginning of a dotted one.
func (v vocabulary) words(prefix string) []string {
	var words []string
	for _, name := range slices.Concat(v.fields, v.aliases, v.unused) {
		rest := strings.TrimSuffix(name, ".*")
		if prefix != "" {
			var below bool
			if rest, below = strings.CutPrefix(rest, prefix+"."); !below {
				continue
			}
		}
		for i, c := range rest {
			if c == '.' && !slices.Contains(words, rest[:i]) {
				words = append(words, rest[:i])
			}
		}
		if !slices.Contains(words, rest) {
			words = append(words, rest)
		}
	}
	return words
}

// isName reports whether a value belongs under the name itself, not below it.
func (v vocabulary) isName(name string) bool {
	return slices.Contains(v.fields, name) || slices.Contains(v.aliases, name)
}

// isUnused reports whether the name, or all that can lie below it, decides nothing.
func isUnused(name string) bool {
	for _, u := range unused {
		stem, tree := strings.CutSuffix(u, ".*")
		if u == name || tree && (name == stem || strings.HasPrefix(name, stem+".")) {
			return true
		}
	}
	return false
}

// leadsToUnused reports whether the name is that of an object of the original's configuration.
func leadsToUnused(name string) bool {
	return slices.ContainsFunc(unused, func(u string) bool { return strings.HasPrefix(u, name+".") })
}

// flatten reads an object and puts its values under their full names.
func (d *draft) flatten(prefix string, data json.RawMessage, v vocabulary, values map[string]json.RawMessage) bool {
	words := v.words(prefix)
	own := words
	if prefix == "" {
		own = v.fields
	}
	members, ok := d.members(prefix, data, words, own)
	if !ok {
		return false
	}
	for _, word := range words { // in a fixed order, so that problems come in it
		value, there := members[word]
		if !there {
			continue
		}
		full := word
		if prefix != "" {
			full = prefix + "." + word
		}
		switch {
		case isUnused(full):
		case !v.isName(full):
			if !isNull(value) {
				d.flatten(full, value, v, values)
			}
		case values[full] != nil:
			d.complain(CodeDuplicateField, full, "is given twice; keep one of them")
		default:
			values[full] = value
		}
	}
	return true
}
