package umt5

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const goldenDir = "../../testdata/golden/dev"

var goldenTokenizerFile = filepath.Join(goldenDir, "weights/Wan2.1-T2V-1.3B/google/umt5-xxl/tokenizer.json")

func readJSON(t testing.TB, path string, to any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, to); err != nil {
		t.Fatal(path, err)
	}
}

func goldenTokenizer(t testing.TB) *Tokenizer {
	t.Helper()
	tokenizer, err := OpenTokenizer(goldenTokenizerFile)
	if err != nil {
		t.Fatal(err)
	}
	return tokenizer
}

// The golden case holds what the reference made of each prompt, step by step.
func TestGolden(t *testing.T) {
	type prompt struct {
		ID           string  `json:"id"`
		Text         string  `json:"text"`
		BasicClean   string  `json:"basic_clean"`
		Cleaned      string  `json:"cleaned"`
		N            int     `json:"n"`
		IDs          []int32 `json:"ids"`
		UntruncatedN int     `json:"untruncated_n"`
	}
	type datasetPrompt struct {
		Prompt string `json:"prompt"`
		Text   string `json:"text"`
	}
	var golden struct {
		Prompts        []prompt        `json:"prompts"`
		DatasetPrompts []datasetPrompt `json:"dataset_prompts"`
	}
	readJSON(t, filepath.Join(goldenDir, "cases/tokenizer.json"), &golden)
	if len(golden.Prompts) == 0 || len(golden.DatasetPrompts) == 0 {
		t.Fatal("the golden case is empty")
	}

	tokenizer := goldenTokenizer(t)
	for _, want := range golden.Prompts {
		got := prompt{ID: want.ID, Text: want.Text, BasicClean: BasicClean(want.Text), Cleaned: Clean(want.Text)}
		got.IDs, got.UntruncatedN = tokenizer.Encode(got.Cleaned)
		got.N = len(got.IDs)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", want.ID, diff)
		}
		if want.ID == "default-negative" && want.Text != DefaultNegativePrompt {
			t.Errorf("DefaultNegativePrompt is not the reference's")
		}
	}
	for _, want := range golden.DatasetPrompts {
		if got := DatasetPrompt(want.Prompt); got != want.Text {
			t.Errorf("DatasetPrompt(%q) = %q, want %q", want.Prompt, got, want.Text)
		}
	}
}
