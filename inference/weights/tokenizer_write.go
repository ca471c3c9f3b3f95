package weights

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

func extraID(i int) string { return "<extra_id_" + strconv.Itoa(i) + ">" }

// addedToken is a token that is cut out of the text before anything else.
type addedToken struct {
	ID         int    `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// addedTokens are the four special pieces and the extra ids, with their ids in the vocabulary.
func addedTokens(vocabulary []piece) []addedToken {
	var list []addedToken
	for id, p := range vocabulary {
		if id < 4 || id >= len(vocabulary)-300 {
			list = append(list, addedToken{ID: id, Content: p.text, Special: true})
		}
	}
	return list
}

// tokenizerJSON is tokenizer.json with the published file's blocks: a Unigram model, one Replace, the old spelling of
// Metaspace, and </s> at the end.
func tokenizerJSON(vocabulary []piece) ([]byte, error) {
	type object map[string]any
	scored := make([][2]any, len(vocabulary))
	for i, p := range vocabulary {
		scored[i] = [2]any{p.text, p.score}
	}
	metaspace := struct {
		Type        string `json:"type"`
		Replacement string `json:"replacement"`
		Prefix      bool   `json:"add_prefix_space"`
	}{"Metaspace", meta, true}
	sequence := func(id string) object { return object{"Sequence": object{"id": id, "type_id": 0}} }
	end := object{"SpecialToken": object{"id": "</s>", "type_id": 0}}
	doc := struct {
		Version       string       `json:"version"`
		Truncation    any          `json:"truncation"`
		Padding       any          `json:"padding"`
		AddedTokens   []addedToken `json:"added_tokens"`
		Normalizer    object       `json:"normalizer"`
		PreTokenizer  any          `json:"pre_tokenizer"`
		PostProcessor object       `json:"post_processor"`
		Decoder       any          `json:"decoder"`
		Model         any          `json:"model"`
	}{
		Version: "1.0", AddedTokens: addedTokens(vocabulary),
		Normalizer: object{"type": "Sequence", "normalizers": []object{
			{"type": "Replace", "pattern": object{"Regex": " {2,}"}, "content": " "}}},
		PreTokenizer: metaspace, Decoder: metaspace,
		PostProcessor: object{"type": "TemplateProcessing", "single": []object{sequence("A"), end},
			"pair":           []object{sequence("A"), end, sequence("B"), end},
			"special_tokens": object{"</s>": object{"id": "</s>", "ids": []int{1}, "tokens": []string{"</s>"}}}},
		Model: struct {
			Type    string   `json:"type"`
			Unknown int      `json:"unk_id"`
			Vocab   [][2]any `json:"vocab"`
		}{"Unigram", 3, scored},
	}
	return plainJSON(doc, "")
}

// tokenizerConfig is tokenizer_config.json, which only the Python tokenizer reads.
func tokenizerConfig(vocabulary []piece) ([]byte, error) {
	decoder := map[string]any{}
	for _, t := range addedTokens(vocabulary) {
		decoder[strconv.Itoa(t.ID)] = map[string]any{"content": t.Content, "lstrip": false, "normalized": false, "rstrip": false,
			"single_word": false, "special": true}
	}
	return plainJSON(map[string]any{
		"added_tokens_decoder": decoder, "additional_special_tokens": extraIDs(), "bos_token": "<s>",
		"clean_up_tokenization_spaces": true, "eos_token": "</s>", "extra_ids": 300,
		"model_max_length": json.Number("1000000000000000019884624838656"), "pad_token": "<pad>",
		"sp_model_kwargs": map[string]any{}, "spaces_between_special_tokens": false, "tokenizer_class": "T5Tokenizer", "unk_token": "<unk>",
	}, "  ")
}

// specialTokens is special_tokens_map.json, byte for byte the published one.
func specialTokens() ([]byte, error) {
	return plainJSON(map[string]any{"additional_special_tokens": extraIDs(), "bos_token": "<s>", "eos_token": "</s>",
		"pad_token": "<pad>", "unk_token": "<unk>"}, "  ")
}

func extraIDs() []string {
	list := make([]string, 300)
	for i := range list {
		list[i] = extraID(i)
	}
	return list
}

// plainJSON leaves <, > and & as they are.
func plainJSON(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	err := e.Encode(v)
	if indent == "" {
		b.Truncate(max(b.Len()-1, 0)) // the newline
	}
	return b.Bytes(), err
}

// sentencePiece is spiece.model: sentencepiece's ModelProto of the vocabulary without the extra ids.
func sentencePiece(vocabulary []piece) []byte {
	message := func(b []byte, field protowire.Number, m []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), m)
	}
	number := func(b []byte, field protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
	}
	real := vocabulary[:len(vocabulary)-300]
	var out []byte
	for _, p := range real {
		m := message(nil, 1, []byte(p.text))
		m = protowire.AppendFixed32(protowire.AppendTag(m, 2, protowire.Fixed32Type), math.Float32bits(float32(p.score)))
		if p.kind != 0 {
			m = number(m, 3, p.kind)
		}
		out = message(out, 1, m)
	}
	trainer := number(nil, 3, 1) // unigram
	trainer = number(trainer, 4, uint64(len(real)))
	trainer = number(trainer, 35, 1) // byte fallback
	for i, id := range []uint64{3, 2, 1, 0} {
		trainer = number(trainer, protowire.Number(40+i), id) // unknown, begin, end, pad
	}
	for i, s := range []string{"<unk>", "<s>", "</s>", "<pad>"} {
		trainer = message(trainer, protowire.Number(45+i), []byte(s))
	}
	out = message(out, 2, trainer)
	normalizer := message(nil, 1, []byte("identity"))
	normalizer = message(normalizer, 2, nil)
	normalizer = number(number(normalizer, 3, 1), 4, 1) // dummy prefix, no extra whitespace
	return message(out, 3, normalizer)
}
