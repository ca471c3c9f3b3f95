package weights

import (
	"encoding/json"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
)

// whisperTensors are the audio encoder's, in F16, and a few of the decoder's, which are published and unused.
func whisperTensors(d WhisperDims) []tensor {
	n := &network{dtype: checkpoint.F16}
	const e = "model.encoder."
	n.layer(e+"conv1", 1, d.Dim, d.Mels, 3)
	n.layer(e+"conv2", 2, d.Dim, d.Dim, 3)
	n.add(e+"embed_positions.weight", around(0, 0.05), d.Positions, d.Dim)
	for l := range d.Layers {
		b := block(e+"layers", l)
		n.layer(b+".self_attn.q_proj", 1, d.Dim, d.Dim)
		n.add(b+".self_attn.k_proj.weight", fanIn(1, d.Dim, d.Dim), d.Dim, d.Dim)
		n.layer(b+".self_attn.v_proj", 1, d.Dim, d.Dim)
		n.layer(b+".self_attn.out_proj", 0.3, d.Dim, d.Dim)
		n.norm(b+".self_attn_layer_norm", d.Dim)
		n.layer(b+".fc1", 1, d.FFN, d.Dim)
		n.layer(b+".fc2", 0.3, d.Dim, d.FFN)
		n.norm(b+".final_layer_norm", d.Dim)
	}
	n.norm(e+"layer_norm", d.Dim)
	n.add("model.decoder.embed_tokens.weight", around(0, 0.05), 64, d.Dim)
	n.add("model.decoder.embed_positions.weight", around(0, 0.05), 16, d.Dim)
	n.norm("model.decoder.layer_norm", d.Dim)
	return n.list
}

// whisperConfig is config.json: only encoder_attention_heads is read here, the rest is what the file is known for.
func whisperConfig(d WhisperDims) ([]byte, error) {
	return indented(map[string]any{
		"activation_function": "gelu", "architectures": []string{"WhisperForConditionalGeneration"}, "d_model": d.Dim,
		"decoder_attention_heads": d.Heads, "decoder_ffn_dim": d.FFN, "decoder_layers": 0,
		"encoder_attention_heads": d.Heads, "encoder_ffn_dim": d.FFN, "encoder_layers": d.Layers,
		"is_encoder_decoder": true, "max_source_positions": d.Positions, "max_target_positions": 16, "model_type": "whisper",
		"num_hidden_layers": d.Layers, "num_mel_bins": d.Mels, "scale_embedding": false, "torch_dtype": "float16", "vocab_size": 64,
	})
}

// whisperFeatures is preprocessor_config.json.
func whisperFeatures(d WhisperDims) ([]byte, error) {
	return indented(map[string]any{
		"chunk_length": 30, "feature_extractor_type": "WhisperFeatureExtractor", "feature_size": d.Mels, "hop_length": 160,
		"n_fft": 400, "n_samples": 480_000, "nb_max_frames": 3000, "padding_side": "right", "padding_value": 0.0,
		"processor_class": "WhisperProcessor", "return_attention_mask": false, "sampling_rate": 16_000,
	})
}

func indented(v map[string]any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	return append(b, '\n'), err
}
