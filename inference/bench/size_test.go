package bench

import (
	"testing"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/fault"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]struct {
		size   Size
		tokens int
	}{
		"1.7B-480p":   {Size{inference.Variant1B, 832, 480, 97}, 26 * 1560},
		"17B-720p":    {Size{inference.Variant17B, 1280, 720, 97}, 26 * 3600},
		"17B-480p-1":  {Size{inference.Variant17B, 832, 480, 1}, 2 * 1560},
		"128x64x9":    {Size{inference.Variant17B, 128, 64, 9}, 4 * 32},
		"39000":       {Size{inference.Variant17B, 312000, 16, 1}, 39000},
		"1.7B-480p-5": {Size{inference.Variant1B, 832, 480, 5}, 3 * 1560},
	} {
		got, err := ParseSize(text, inference.Variant17B)
		if err != nil || got != want.size || got.Tokens() != want.tokens {
			t.Errorf("%s: %+v with %d tokens (%v), want %+v with %d", text, got, got.Tokens(), err, want.size, want.tokens)
		}
	}
	for _, text := range []string{"", "480p", "1.7B", "17B-1080p", "100x64x5", "64x64x4", "64x64x0", "0x0x1", "7", "0", "-2", "1e9", "17B-480p-96"} {
		if _, err := ParseSize(text, inference.Variant1B); fault.CodeOf(err) != "bad_size" {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := ParseSize("64x64x5", "7B"); fault.CodeOf(err) != "bad_variant" {
		t.Errorf("another variant: %v", err)
	}
}
