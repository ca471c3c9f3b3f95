package golden_test

import (
	"math"
	"slices"
	"testing"

	"github.com/humo-worker/humo-worker/inference/golden"
	"github.com/humo-worker/humo-worker/inference/golden/goldentest"
)

// A comparison that cannot fail proves nothing: every way of being wrong must be one.
func TestCompareFails(t *testing.T) {
	c := goldentest.Open(t, "unipc")
	const name = "out.sigmas_s4_shift5"
	right, shape := c.Floats(t, name), c.Shape(t, name)
	wrong := func(change func(x []float32)) []float32 {
		x := slices.Clone(right)
		change(x)
		return x
	}
	if d := c.Compare(name, golden.Floats(right, shape...)); d.Err != nil || d.MaxAbs != 0 {
		t.Errorf("the expected numbers themselves fail: %+v", d)
	}
	for label, have := range map[string]golden.Array{
		"beyond the bound": golden.Floats(wrong(func(x []float32) { x[1] += 1.1e-5 }), shape...),
		"not a number":     golden.Floats(wrong(func(x []float32) { x[2] = float32(math.NaN()) }), shape...),
		"other shape":      golden.Floats(right, 1, shape[0]),
		"too few values":   golden.Floats(right[1:], shape...),
	} {
		if d := c.Compare(name, have); d.Err == nil {
			t.Errorf("%s is accepted", label)
		}
	}
	if d := c.Compare("out.timesteps_s4_shift5", golden.Ints(999, 937, 833, 625)); d.Err == nil {
		t.Error("an exact tensor may be off by one")
	}
	if d := c.Compare("out.nowhere", golden.Floats(nil)); d.Err == nil {
		t.Error("a tensor that the case lacks is accepted")
	}
}

// Bytes may be off by one, but few of them.
func TestCompareCountsBytes(t *testing.T) {
	c := goldentest.Open(t, "letterbox")
	const name = "out.wide_64x48_u8"
	right, shape := c.Bytes(t, name), c.Shape(t, name)
	for _, test := range []struct {
		unequal int
		by      byte
		ok      bool
	}{{0, 0, true}, {len(right) / 51, 1, true}, {len(right) / 49, 1, false}, {1, 2, false}} {
		have := slices.Clone(right)
		for i := range test.unequal {
			have[i] ^= test.by // by one or two, up or down
		}
		if d := c.Compare(name, golden.Bytes(have, shape...)); (d.Err == nil) != test.ok {
			t.Errorf("%d of %d bytes off by %d: %v", test.unequal, len(right), test.by, d.Err)
		}
	}
}
