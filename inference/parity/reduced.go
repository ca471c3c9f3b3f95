package parity

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/golden"
)

// rule is how far an output may be from the reference's where numbers of 16 bits are computed with. The zero value is the
// case's own tolerance.
type rule struct {
	relativeL2 float64 // at most: ‖a−b‖/‖b‖
	cosine     float64 // at least
}

// reducedRules are the golden set's for the transformer: forwards, of the whole or of its parts, by their relative L2
// error, the latents that a pipeline ends with by their cosine. UMT5, which the original runs in bf16 too, is held to the
// transformer's bound in bf16, because it rounds at the same places: the arguments and the results of its matrix products,
// about 14 in a row in a layer, each by 2^-9 at most, so by 1.1e-3 root mean square. Independent of each other they add up
// to 6e-3 in two layers, and its weights lose nothing, being bf16 in the file. In fp16 it stays in float32. So do the VAE
// and the audio encoder always: with everything that runs in Go, they keep the cases' own tolerances.
var reducedRules = map[inference.DType][]struct {
	cases, output string // beginnings of names
	rule
}{
	inference.BF16: {
		{"dit_", "out.", rule{relativeL2: 2e-2}},
		{"audio_proj_", "out.", rule{relativeL2: 2e-2}},
		{"e2e_", "out.latents", rule{cosine: 0.999}},
		{"t5", "out.emb", rule{relativeL2: 2e-2}},
	},
	inference.FP16: {
		{"dit_", "out.", rule{relativeL2: 3e-3}},
		{"audio_proj_", "out.", rule{relativeL2: 3e-3}},
		{"e2e_", "out.latents", rule{cosine: 0.9999}},
	},
}

// ruleOf finds the rule of an output.
func ruleOf(dtype inference.DType, c *golden.Case, output string) rule {
	for _, r := range reducedRules[dtype] {
		if strings.HasPrefix(c.Name, r.cases) && strings.HasPrefix(output, r.output) {
			return r.rule
		}
	}
	return rule{}
}

// compare holds a computed tensor against the case's of that name.
func (r rule) compare(c *golden.Case, name string, have golden.Array) golden.Difference {
	if r == (rule{}) {
		return c.Compare(name, have)
	}
	bad := golden.Difference{MaxAbs: math.Inf(1), Ratio: math.Inf(1), Bound: "-"}
	want, shape, err := c.Floats(name)
	switch {
	case err != nil:
		bad.Err = err
		return bad
	case !slices.Equal(have.Shape, shape) || len(have.Data) != len(want):
		bad.Err = fmt.Errorf("has the shape %v and %d values, want %v and %d", have.Shape, len(have.Data), shape, len(want))
		return bad
	}
	return r.judge(want, have.Data)
}

// judge compares numbers. A NaN makes every sum NaN, which is within no bound.
func (r rule) judge(want, have []float32) golden.Difference {
	var difference, wants, haves, product float64
	for i := range want {
		a, b := float64(have[i]), float64(want[i])
		difference += (a - b) * (a - b)
		wants += b * b
		haves += a * a
		product += a * b
	}
	value, bound, what := math.Sqrt(difference/wants), r.relativeL2, "L2"
	if r.cosine > 0 {
		value, bound, what = 1-product/math.Sqrt(wants*haves), 1-r.cosine, "1-cos"
	}
	d := golden.Difference{MaxAbs: value, Ratio: value / bound, Bound: fmt.Sprintf("%.3g %s", bound, what)}
	if !(value <= bound) {
		d.Err = fmt.Errorf("%s is %.3g, the bound is %.3g", map[string]string{"L2": "the relative L2 error", "1-cos": "1 - cosine"}[what], value, bound)
	}
	return d
}
