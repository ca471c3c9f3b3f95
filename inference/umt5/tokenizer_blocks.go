package umt5

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// tokenizer builds the tokenizer if every block of the file is the known one.
func (f *tokenizerFile) tokenizer() (*Tokenizer, error) {
	if err := checkNormalizer(f.normalizer); err != nil {
		return nil, unsupported("normalizer", err)
	}
	if err := checkPreTokenizer(f.preTokenizer); err != nil {
		return nil, unsupported("pre_tokenizer", err)
	}
	model, err := f.model.build()
	if err != nil {
		return nil, unsupported("model", err)
	}
	end, err := f.model.checkPostProcessor(f.postProcessor)
	if err != nil {
		return nil, unsupported("post_processor", err)
	}
	added, err := f.model.buildAddedTokens(f.addedTokens)
	if err != nil {
		return nil, unsupported("added_tokens", err)
	}
	return &Tokenizer{model: model, added: added, end: end}, nil
}

func unsupported(block string, err error) error {
	return fault.New(CodeTokenizerUnsupported, "tokenizer.json",
		"The block %q is not the one of google/umt5-xxl: %v. Use the tokenizer.json that is published with the Wan 2.1 text encoder.",
		block, err)
}

// decodeBlock fills to from a block.
func decodeBlock(block json.RawMessage, to any) error {
	if len(block) == 0 {
		return errors.New("it is missing")
	}
	return json.Unmarshal(block, to)
}

// normalizerBlock must be one rule: runs of two or more spaces become one.
type normalizerBlock struct {
	Type        string `json:"type"`
	Normalizers []struct {
		Type    string `json:"type"`
		Pattern struct {
			Regex string `json:"Regex"`
		} `json:"pattern"`
		Content string `json:"content"`
	} `json:"normalizers"`
}

func checkNormalizer(block json.RawMessage) error {
	var n normalizerBlock
	if err := decodeBlock(block, &n); err != nil {
		return err
	}
	if n.Type != "Sequence" || len(n.Normalizers) != 1 {
		return fmt.Errorf("type %q with %d steps, want a Sequence of one Replace", n.Type, len(n.Normalizers))
	}
	if s := n.Normalizers[0]; s.Type != "Replace" || s.Pattern.Regex != " {2,}" || s.Content != " " {
		return fmt.Errorf("%s of %q by %q, want Replace of \" {2,}\" by one space", s.Type, s.Pattern.Regex, s.Content)
	}
	return nil
}

// preTokenizerBlock must be Metaspace, in the spelling of either age: add_prefix_space is the old one, prepend_scheme
// and split the new.
type preTokenizerBlock struct {
	Type           string  `json:"type"`
	Replacement    string  `json:"replacement"`
	StrRep         *string `json:"str_rep"` // older still: the replacement again
	AddPrefixSpace *bool   `json:"add_prefix_space"`
	PrependScheme  *string `json:"prepend_scheme"`
	Split          *bool   `json:"split"`
}

func checkPreTokenizer(block json.RawMessage) error {
	var p preTokenizerBlock
	if err := decodeBlock(block, &p); err != nil {
		return err
	}
	switch {
	case p.Type != "Metaspace":
		return fmt.Errorf("type %q, want Metaspace", p.Type)
	case p.Replacement != metaspace, p.StrRep != nil && *p.StrRep != metaspace:
		return fmt.Errorf("replacement %q, want %q", p.Replacement, metaspace)
	case p.AddPrefixSpace == nil && p.PrependScheme == nil:
		return errors.New("neither add_prefix_space nor prepend_scheme, want one of them")
	case p.AddPrefixSpace != nil && !*p.AddPrefixSpace:
		return errors.New("add_prefix_space false, want true")
	case p.PrependScheme != nil && *p.PrependScheme != "always":
		return fmt.Errorf("prepend_scheme %q, want always", *p.PrependScheme)
	case p.Split != nil && !*p.Split:
		return errors.New("split false, want true")
	}
	return nil
}

// endToken closes every text.
const endToken = "</s>"

// postProcessorBlock must append </s> to a text. What it does to pairs of texts does not matter here.
type postProcessorBlock struct {
	Type          string                  `json:"type"`
	Single        []templatePiece         `json:"single"`
	SpecialTokens map[string]specialToken `json:"special_tokens"`
}

type templatePiece struct {
	Sequence     *templateID `json:"Sequence"`
	SpecialToken *templateID `json:"SpecialToken"`
}

type templateID struct {
	ID string `json:"id"`
}

type specialToken struct {
	IDs []int32 `json:"ids"`
}

// checkPostProcessor returns the id of </s>.
func (m *modelBlock) checkPostProcessor(block json.RawMessage) (int32, error) {
	var p postProcessorBlock
	if err := decodeBlock(block, &p); err != nil {
		return 0, err
	}
	if p.Type != "TemplateProcessing" {
		return 0, fmt.Errorf("type %q, want TemplateProcessing", p.Type)
	}
	if s := p.Single; len(s) != 2 || s[0].Sequence == nil || s[0].Sequence.ID != "A" ||
		s[1].SpecialToken == nil || s[1].SpecialToken.ID != endToken {
		return 0, fmt.Errorf("template of %d parts, want the text and %s", len(s), endToken)
	}
	ids := p.SpecialTokens[endToken].IDs
	if len(ids) != 1 || !m.has(ids[0], endToken) {
		return 0, fmt.Errorf("ids %v for %s, want its place in the vocabulary", ids, endToken)
	}
	return ids[0], nil
}

// has tells whether piece is the vocabulary's piece number id.
func (m *modelBlock) has(id int32, piece string) bool {
	return id >= 0 && int(id) < len(m.pieces) && m.pieces[id] == piece
}

// addedToken is a token that is cut out of the raw text. Any flag would mean another rule.
type addedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
}

func (m *modelBlock) buildAddedTokens(block json.RawMessage) (vocabulary, error) {
	var tokens []addedToken
	if err := decodeBlock(block, &tokens); err != nil {
		return vocabulary{}, err
	}
	var contents []string
	var ids []int32
	for _, a := range tokens {
		switch {
		case a.SingleWord || a.LStrip || a.RStrip || a.Normalized:
			return vocabulary{}, fmt.Errorf("%q has a flag (single_word, lstrip, rstrip, normalized), want none", a.Content)
		case a.Content == "" || !m.has(a.ID, a.Content):
			return vocabulary{}, fmt.Errorf("%q has the id %d, want its place in the vocabulary", a.Content, a.ID)
		}
		contents = append(contents, a.Content)
		ids = append(ids, a.ID)
	}
	if !slices.Contains(contents, endToken) {
		return vocabulary{}, fmt.Errorf("no %s among them", endToken)
	}
	return newVocabulary(contents, ids), nil
}
