package umt5

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/humo-worker/humo-worker/inference/fault"
)

func TestEncodeLikeTheOracle(t *testing.T) {
	var cases []struct {
		Text string  `json:"text"`
		IDs  []int32 `json:"ids"`
	}
	readJSON(t, "testdata/tokens.json", &cases)
	tokenizer := goldenTokenizer(t)
	for _, c := range cases {
		got, untruncated := tokenizer.Encode(c.Text)
		if untruncated != len(c.IDs) {
			t.Errorf("%+q has %d ids, want %d", c.Text, untruncated, len(c.IDs))
		}
		if diff := cmp.Diff(c.IDs, got); diff != "" {
			t.Errorf("%+q (-want +got):\n%s", c.Text, diff)
		}
	}
}

// build returns the bytes of a tokenizer.json with the vocabulary, after change has had its way with it.
func build(t testing.TB, vocab [][]any, change func(file map[string]any)) []byte {
	t.Helper()
	var added []any
	for id, entry := range vocab {
		if p := entry[0].(string); p == "</s>" || strings.HasPrefix(p, "<extra") {
			added = append(added, map[string]any{"id": id, "content": p, "normalized": false, "special": true})
		}
	}
	file := map[string]any{
		"version":      "1.0",
		"added_tokens": added,
		"normalizer": map[string]any{"type": "Sequence", "normalizers": []any{
			map[string]any{"type": "Replace", "pattern": map[string]any{"Regex": " {2,}"}, "content": " "}}},
		"pre_tokenizer": map[string]any{"type": "Metaspace", "replacement": "▁", "add_prefix_space": true},
		"post_processor": map[string]any{"type": "TemplateProcessing",
			"single": []any{
				map[string]any{"Sequence": map[string]any{"id": "A", "type_id": 0}},
				map[string]any{"SpecialToken": map[string]any{"id": "</s>", "type_id": 0}}},
			"special_tokens": map[string]any{"</s>": map[string]any{"id": "</s>", "ids": []int{1}}}},
		"model": map[string]any{"type": "Unigram", "unk_id": 3, "vocab": vocab},
	}
	if change != nil {
		change(file)
	}
	b, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func vocabOf(pieces ...any) [][]any {
	vocab := [][]any{{"<pad>", 0.0}, {"</s>", 0.0}, {"<s>", 0.0}, {"<unk>", 0.0}}
	for i := 0; i < len(pieces); i += 2 {
		vocab = append(vocab, []any{pieces[i], pieces[i+1]})
	}
	return vocab
}

func TestEncodeRules(t *testing.T) {
	b := build(t, vocabOf("▁", -2., "a", -3., "b", -3., "ab", -6., "bc", -4., "▁a", -1., "<extra_id_1", -9., "<extra_id_1>", 0.), nil)
	tokenizer, err := readTokenizer(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	const (
		end, unknown            = 1, 3
		space, a, bb, ab, bc, A = 4, 5, 6, 7, 8, 9
		extraPart, extra        = 10, 11
	)
	for text, want := range map[string][]int32{
		"":                   {end},
		" ":                  {space, end},
		"a":                  {A, end},
		"bab":                {space, bb, ab, end},  // ab scores -6 like a and b, and is found first
		"abc":                {A, bc, end},          // c is in no piece alone
		"xyz":                {space, unknown, end}, // unknown characters in a row are one
		"xay":                {space, unknown, a, unknown, end},
		"x y":                {space, unknown, space, unknown, end},
		"a  a":               {A, A, end},               // spaces in a row are one
		"a ▁ a":              {A, space, space, A, end}, // but ▁ are not
		"<extra_id_1>a":      {extra, A, end},           // the longer added token wins, and a word starts after it
		"<extra_id_1 a":      {extraPart, A, end},
		"\xffa":              {space, unknown, a, end},
		"a</s> <extra_id_1>": {A, end, space, extra, end},
	} {
		if got, n := tokenizer.Encode(text); !slices.Equal(got, want) || n != len(want) {
			t.Errorf("Encode(%q) = %v, %d, want %v", text, got, n, want)
		}
	}

	for _, n := range []int{MaxTokens - 2, MaxTokens - 1, MaxTokens, 3 * MaxTokens} {
		got, untruncated := tokenizer.Encode(strings.Repeat("a ", n-1) + "a")
		if len(got) != min(n+1, MaxTokens) || untruncated != n+1 || got[len(got)-1] != end || got[len(got)-2] != A {
			t.Errorf("%d words: %d ids of %d, the last %v", n, len(got), untruncated, got[len(got)-2:])
		}
	}
}

// Another tokenizer's rules are refused, and the fault names the block.
func TestOpenTokenizerRefuses(t *testing.T) {
	block := func(file map[string]any, name string) map[string]any { return file[name].(map[string]any) }
	cases := map[string]struct {
		block  string // "" if the file is to be taken
		change func(file map[string]any)
	}{
		"old spelling": {"", nil},
		"new spelling": {"", func(f map[string]any) {
			f["pre_tokenizer"] = map[string]any{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}
		}},
		"both spellings":   {"", func(f map[string]any) { block(f, "pre_tokenizer")["prepend_scheme"] = "always" }},
		"other blocks":     {"", func(f map[string]any) { f["padding"] = map[string]any{"length": 3}; f["decoder"] = nil }},
		"byte fallback no": {"", func(f map[string]any) { block(f, "model")["byte_fallback"] = false }},

		"no normalizer":     {"normalizer", func(f map[string]any) { f["normalizer"] = nil }},
		"normalizer absent": {"normalizer", func(f map[string]any) { delete(f, "normalizer") }},
		"charsmap": {"normalizer", func(f map[string]any) {
			f["normalizer"] = map[string]any{"type": "Precompiled", "precompiled_charsmap": "AA=="}
		}},
		"more normalizers": {"normalizer", func(f map[string]any) {
			n := block(f, "normalizer")
			n["normalizers"] = append(n["normalizers"].([]any), map[string]any{"type": "NFKC"})
		}},
		"other content": {"normalizer", func(f map[string]any) {
			block(f, "normalizer")["normalizers"].([]any)[0].(map[string]any)["content"] = "▁"
		}},
		"odd pattern": {"normalizer", func(f map[string]any) {
			block(f, "normalizer")["normalizers"].([]any)[0].(map[string]any)["pattern"] = 5
		}},
		"no prefix":     {"pre_tokenizer", func(f map[string]any) { block(f, "pre_tokenizer")["add_prefix_space"] = false }},
		"first only":    {"pre_tokenizer", func(f map[string]any) { block(f, "pre_tokenizer")["prepend_scheme"] = "first" }},
		"no split":      {"pre_tokenizer", func(f map[string]any) { block(f, "pre_tokenizer")["split"] = false }},
		"no spelling":   {"pre_tokenizer", func(f map[string]any) { delete(block(f, "pre_tokenizer"), "add_prefix_space") }},
		"underscore":    {"pre_tokenizer", func(f map[string]any) { block(f, "pre_tokenizer")["replacement"] = "_" }},
		"whitespace":    {"pre_tokenizer", func(f map[string]any) { f["pre_tokenizer"] = map[string]any{"type": "WhitespaceSplit"} }},
		"byte fallback": {"model", func(f map[string]any) { block(f, "model")["byte_fallback"] = true }},
		"bpe": {"model", func(f map[string]any) {
			f["model"] = map[string]any{"type": "BPE", "vocab": map[string]any{"a": map[string]any{"b": []int{1}}}}
		}},
		"no unknown":      {"model", func(f map[string]any) { delete(block(f, "model"), "unk_id") }},
		"unknown too far": {"model", func(f map[string]any) { block(f, "model")["unk_id"] = 400 }},
		"no pieces":       {"model", func(f map[string]any) { block(f, "model")["vocab"] = []any{} }},
		"no end":          {"post_processor", func(f map[string]any) { block(f, "post_processor")["single"] = []any{} }},
		"other end id": {"post_processor", func(f map[string]any) {
			block(f, "post_processor")["special_tokens"] = map[string]any{"</s>": map[string]any{"ids": []int{2}}}
		}},
		"other processor": {"post_processor", func(f map[string]any) { block(f, "post_processor")["type"] = "BertProcessing" }},
		"stripping":       {"added_tokens", func(f map[string]any) { f["added_tokens"].([]any)[0].(map[string]any)["lstrip"] = true }},
		"other id":        {"added_tokens", func(f map[string]any) { f["added_tokens"].([]any)[0].(map[string]any)["id"] = 2 }},
		"none added":      {"added_tokens", func(f map[string]any) { f["added_tokens"] = []any{} }},
	}
	for name, c := range cases {
		_, err := readTokenizer(bytes.NewReader(build(t, vocabOf("▁", -1.), c.change)))
		switch {
		case c.block == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.block != "" && (fault.CodeOf(err) != CodeTokenizerUnsupported || !strings.Contains(err.Error(), `"`+c.block+`"`)):
			t.Errorf("%s: %v, want a fault that names %s", name, err, c.block)
		}
	}
}

func TestOpenTokenizerUnreadable(t *testing.T) {
	whole := build(t, vocabOf("▁", -1.), nil)
	for name, b := range map[string][]byte{
		"empty":           nil,
		"no object":       []byte(`[]`),
		"cut":             whole[:len(whole)-9],
		"two":             append(slices.Clone(whole), whole...),
		"doubled block":   bytes.Replace(whole, []byte(`{"added_tokens"`), []byte(`{"version":"1","added_tokens"`), 1),
		"score too large": bytes.Replace(whole, []byte(`["▁",-1]`), []byte(`["▁",-1e999]`), 1),
		"score missing":   bytes.Replace(whole, []byte(`["▁",-1]`), []byte(`["▁"]`), 1),
		"score a string":  bytes.Replace(whole, []byte(`["▁",-1]`), []byte(`["▁","-1"]`), 1),
		"three in a pair": bytes.Replace(whole, []byte(`["▁",-1]`), []byte(`["▁",-1,0]`), 1),
	} {
		if _, err := readTokenizer(bytes.NewReader(b)); fault.CodeOf(err) != CodeTokenizerUnreadable {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := OpenTokenizer("testdata/none.json"); fault.CodeOf(err) != CodeTokenizerUnreadable {
		t.Errorf("no file: %v", err)
	}
}

// The sorted list must find what a map finds.
func TestVocabularyPrefixes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	word := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "ab\x00\xff"[rng.IntN(4)]
		}
		return string(b)
	}
	var pieces []string
	var ids []int32
	want := map[string]int32{}
	for i := range int32(600) {
		p := word(rng.IntN(9))
		pieces, ids = append(pieces, p), append(ids, i)
		want[p] = i
	}
	v := newVocabulary(pieces, ids)
	for range 2000 {
		text := word(rng.IntN(12))
		var found, expected []string
		for n, id := range v.prefixes(text) {
			found = append(found, fmt.Sprint(n, id))
		}
		for n := 1; n <= len(text); n++ {
			if id, ok := want[text[:n]]; ok {
				expected = append(expected, fmt.Sprint(n, id))
			}
		}
		if diff := cmp.Diff(expected, found); diff != "" {
			t.Fatalf("%q (-want +got):\n%s", text, diff)
		}
	}
}

// FuzzReadTokenizer reads foreign bytes. A file that is taken must encode any text.
func FuzzReadTokenizer(f *testing.F) {
	f.Add(build(f, vocabOf("▁", -1., "▁a", -2.5, "<extra_id_0>", 0), nil), "a <extra_id_0> b")
	f.Add(build(f, vocabOf("", -1., "a", 1e300, "a", -1e300), nil), "aa\xff ▁")
	f.Add([]byte(`{"model":{"vocab":[["a",0]],"unk_id":0}}`), "")
	f.Fuzz(func(t *testing.T, file []byte, text string) {
		tokenizer, err := readTokenizer(bytes.NewReader(file))
		if err != nil {
			if fault.CodeOf(err) == "internal" {
				t.Errorf("not a fault: %v", err)
			}
			return
		}
		ids, untruncated := tokenizer.Encode(text)
		if len(ids) == 0 || len(ids) > MaxTokens || len(ids) != min(untruncated, MaxTokens) || ids[len(ids)-1] != tokenizer.end {
			t.Errorf("%d ids of %d: %v", len(ids), untruncated, ids)
		}
	})
}

// BenchmarkOpenTokenizer opens a file as large as the published one.
func BenchmarkOpenTokenizer(b *testing.B) {
	rng := rand.New(rand.NewPCG(3, 4))
	vocab := vocabOf("▁", -1.)
	for len(vocab) < 256_300 {
		piece := make([]rune, 1+rng.IntN(8))
		for i := range piece {
			piece[i] = rune(0x61 + rng.IntN(0x400))
		}
		vocab = append(vocab, []any{string(piece), float64(float32(-20 * rng.Float64()))})
	}
	path := b.TempDir() + "/tokenizer.json"
	if err := os.WriteFile(path, build(b, vocab, nil), 0o600); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := OpenTokenizer(path); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCleanAndEncode(b *testing.B) {
	tokenizer := goldenTokenizer(b)
	for b.Loop() {
		tokenizer.Encode(Clean(DefaultNegativePrompt))
	}
}
