package parity

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/golden"
	"github.com/humo-worker/humo-worker/inference/umt5"
)

// textModels opens the networks, whose text encoder both variants share, and their tokenizer.
func textModels(e *inference.Engine) (*inference.Models, *umt5.Tokenizer, error) {
	m, err := e.Models(inference.Variant1B)
	if err != nil {
		return nil, nil, err
	}
	tokenizer, err := umt5.OpenTokenizer(m.Files.Tokenizer)
	return m, tokenizer, err
}

// tokenizerCase compares texts and ids, all exactly.
func tokenizerCase(_ context.Context, e *inference.Engine, c *golden.Case) (outputs, error) {
	var want struct {
		Prompts []struct {
			ID, Text, Cleaned string
			BasicClean        string `json:"basic_clean"`
			N                 int
			IDs               []int32
			Untruncated       int `json:"untruncated_n"`
		}
		DatasetPrompts []struct{ Prompt, Text string } `json:"dataset_prompts"`
	}
	text, err := os.ReadFile(c.Path(c.File))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &want); err != nil {
		return nil, err
	}
	_, tokenizer, err := textModels(e)
	if err != nil {
		return nil, err
	}
	if len(want.Prompts) == 0 {
		return nil, fmt.Errorf("%s lists no prompts", c.File)
	}
	var wrong []string
	for _, p := range want.Prompts {
		ids, untruncated := tokenizer.Encode(umt5.Clean(p.Text))
		switch {
		case umt5.BasicClean(p.Text) != p.BasicClean:
			wrong = append(wrong, p.ID+" (basic_clean)")
		case umt5.Clean(p.Text) != p.Cleaned:
			wrong = append(wrong, p.ID+" (cleaned)")
		case !slices.Equal(ids, p.IDs) || len(ids) != p.N || untruncated != p.Untruncated:
			wrong = append(wrong, p.ID+" (ids)")
		}
	}
	for _, p := range want.DatasetPrompts {
		if umt5.DatasetPrompt(p.Prompt) != p.Text {
			wrong = append(wrong, fmt.Sprintf("dataset prompt %q", p.Prompt))
		}
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("these differ: %s", strings.Join(wrong, ", "))
	}
	return nil, nil
}

// textCase encodes the case's ids, after checking that the tokenizer gives them for its prompts.
func textCase(ctx context.Context, e *inference.Engine, c *golden.Case) (outputs, error) {
	var config struct{ Prompts []string }
	if err := c.Config(&config); err != nil {
		return nil, err
	}
	m, tokenizer, err := textModels(e)
	if err != nil {
		return nil, err
	}
	out := outputs{}
	for i, prompt := range config.Prompts {
		want, err := c.Ints(fmt.Sprintf("in.ids%d", i))
		if err != nil {
			return nil, err
		}
		ids, _ := tokenizer.Encode(umt5.Clean(prompt))
		if !slices.EqualFunc(ids, want, func(a int32, b int) bool { return int(a) == b }) {
			return nil, fmt.Errorf("prompt %d gives other ids than the case's", i)
		}
		emb, err := m.Text.EncodeIDs(ctx, ids)
		if err != nil {
			return nil, err
		}
		out[fmt.Sprintf("out.emb%d", i)] = golden.Floats(emb.Data, int64(emb.Rows), int64(emb.Dim))
	}
	var buckets []int64
	for relative := -511; relative <= 511; relative++ {
		buckets = append(buckets, umt5.Bucket(relative))
	}
	out["out.buckets_for_rel_-511..511"] = golden.Ints(buckets...)
	return out, nil
}
