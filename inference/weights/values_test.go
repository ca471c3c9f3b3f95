package weights

import (
	"math"
	"testing"
)

func TestNoiseIsUnitAndBounded(t *testing.T) {
	const n = 1 << 18
	x := make([]float32, n)
	around(0, 1).fill("some.weight", x, 0)
	var sum, squares, peak float64
	for _, v := range x {
		sum += float64(v)
		squares += float64(v) * float64(v)
		peak = max(peak, math.Abs(float64(v)))
	}
	if mean, std := sum/n, math.Sqrt(squares/n); math.Abs(mean) > 0.01 || math.Abs(std-1) > 0.01 || peak > 3.47 {
		t.Errorf("mean %g, deviation %g, peak %g; want 0, 1, at most 3.47", mean, std, peak)
	}
}

func TestValuesDependOnTheIndexOnly(t *testing.T) {
	for name, v := range map[string]values{
		"plain": around(1, 0.5), "tied": smoothRows(around(0, 1), 8), "structured": around(0, 1).plus(diagonal(8, 64, 2)),
	} {
		whole, part := make([]float32, 1000), make([]float32, 300)
		v.fill("a", whole, 0)
		v.fill("a", part, 517)
		for i := range part {
			if part[i] != whole[517+i] {
				t.Fatalf("%s: element %d is %g on its own and %g in the whole", name, 517+i, part[i], whole[517+i])
			}
		}
		v.fill("b", part, 517)
		if part[0] == whole[517] && part[1] == whole[518] {
			t.Errorf("%s: two tensors share their noise", name)
		}
	}
}

func TestRounding(t *testing.T) {
	for in, want := range map[float32]uint16{
		0: 0, 1: 0x3c00, -2: 0xc000, 65504: 0x7bff, 65520: 0x7c00, 1e9: 0x7c00, 65519: 0x7bff, 0x1p-14: 0x0400, 0x1p-24: 0x0001,
		0x1p-25: 0, 0x1.8p-24: 0x0002, -0x1p-26: 0x8000, 1 + 0x1p-11: 0x3c00, 1 + 0x3p-11: 0x3c02, 0x1.ff8p-15: 0x03ff, 0x1.ffcp-15: 0x0400, 0.1: 0x2e66,
	} {
		if got := ToF16(in); got != want {
			t.Errorf("ToF16(%g) = %#04x, want %#04x", in, got, want)
		}
	}
	for in, want := range map[float32]uint16{0: 0, 1: 0x3f80, -1: 0xbf80, 1 + 0x1p-8: 0x3f80, 1 + 0x3p-8: 0x3f82, 1 + 0x1.1p-8: 0x3f81, 0.1: 0x3dcd} {
		if got := ToBF16(in); got != want {
			t.Errorf("ToBF16(%g) = %#04x, want %#04x", in, got, want)
		}
	}
}
