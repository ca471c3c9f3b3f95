package media

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/golden/goldentest"

	"github.com/google/go-cmp/cmp"
)

// Every out.* tensor of the golden case must be reached by one of its images and targets, and equal it exactly.
func TestLetterboxGolden(t *testing.T) {
	var config struct {
		Images  []struct{ File string }
		Targets [][2]int `json:"targets_width_height"`
	}
	c := goldentest.Open(t, "letterbox")
	c.Config(t, &config)
	left := map[string]bool{}
	for _, n := range c.Index.Names() {
		if strings.HasPrefix(n, "out.") {
			left[n] = true
		}
	}
	for _, image := range config.Images {
		p, err := DecodeImage(t.Context(), c.Path(image.File))
		if err != nil {
			t.Fatal(err)
		}
		stem := strings.TrimSuffix(filepath.Base(image.File), filepath.Ext(image.File))
		for _, size := range config.Targets {
			name := fmt.Sprintf("out.%s_%dx%d", stem, size[0], size[1])
			got := Letterbox(p, size[0], size[1])
			if left[name+"_u8"] {
				delete(left, name+"_u8")
				if diff := cmp.Diff(c.Bytes(t, name+"_u8"), got); diff != "" {
					t.Errorf("%s_u8 (-want +got):\n%s", name, diff)
				}
			}
			if left[name] {
				delete(left, name)
				if diff := cmp.Diff(c.Floats(t, name), Normalize(got, size[0], size[1])); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
		}
	}
	if len(left) > 0 {
		t.Errorf("tensors not checked: %v", left)
	}
}

// Sizes that the golden case has not: much smaller, much larger, one axis only, unchanged, extreme ratios.
func TestLetterboxEqualsPillow(t *testing.T) {
	text, err := os.ReadFile("testdata/letterbox.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		From, To [2]int
		SHA256   string
	}
	if err := json.Unmarshal(text, &cases); err != nil || len(cases) == 0 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, c := range cases {
		p := &Picture{Width: c.From[0], Height: c.From[1]}
		for y := range p.Height {
			for x := range p.Width {
				for ch := 1; ch <= 3; ch++ {
					p.RGB = append(p.RGB, uint8((x*x*7+y*13+x*y*ch*3)>>2))
				}
			}
		}
		sum := sha256.Sum256(Letterbox(p, c.To[0], c.To[1]))
		if got := hex.EncodeToString(sum[:]); got != c.SHA256 {
			t.Errorf("%v -> %v differs from Pillow's", c.From, c.To)
		}
	}
}

// The reference fails on a picture whose short side would vanish.
func TestLetterboxOfALine(t *testing.T) {
	got := Letterbox(&Picture{Width: 1000, Height: 1, RGB: make([]uint8, 3000)}, 16, 16)
	dark := 0
	for _, v := range got {
		if v == 0 {
			dark++
		}
	}
	if dark != 16*3 {
		t.Errorf("%d dark values, want one row of 16 pixels", dark)
	}
}

func BenchmarkLetterbox(b *testing.B) {
	p := &Picture{Width: 4000, Height: 3000, RGB: make([]uint8, 4000*3000*3)}
	for b.Loop() {
		Letterbox(p, 832, 480)
	}
}
