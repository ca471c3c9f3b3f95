package graph

import (
	"math"
	"testing"
)

func TestHalfBits(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, test := range []struct {
		x         float32
		f16, bf16 uint16
	}{
		{0, 0, 0},
		{float32(math.Copysign(0, -1)), 0x8000, 0x8000},
		{1, 0x3c00, 0x3f80},
		{-2, 0xc000, 0xc000},
		{1 + 0x1p-11, 0x3c00, 0x3f80},         // a tie goes to the even side: down
		{1 + 3*0x1p-11, 0x3c02, 0x3f80},       // and up
		{1 + 0x1p-8, 0x3c04, 0x3f80},          // a tie of bf16: down
		{1 + 3*0x1p-8, 0x3c0c, 0x3f82},        // and up
		{2 - 0x1p-12, 0x4000, 0x4000},         // the mantissa carries into the exponent
		{65504, 0x7bff, 0x4780},               // the largest half
		{65519.996, 0x7bff, 0x4780},           //
		{65520, 0x7c00, 0x4780},               // rounds to infinity
		{0x1p-14, 0x0400, 0x3880},             // the smallest normal half
		{0x1p-14 - 0x1p-24, 0x03ff, 0x3880},   // the largest subnormal one
		{0x1p-24, 0x0001, 0x3380},             // the smallest
		{0x1p-25, 0x0000, 0x3300},             // a tie with zero
		{1.5 * 0x1p-24, 0x0002, 0x33c0},       //
		{math.MaxFloat32, 0x7c00, 0x7f80},     // rounds up to infinity in both
		{inf, 0x7c00, 0x7f80},                 //
		{-inf, 0xfc00, 0xff80},                //
		{float32(math.NaN()), 0x7e00, 0x7fc0}, //
	} {
		if got := float16Bits(test.x); got != test.f16 {
			t.Errorf("%g in fp16 is %04x, want %04x", test.x, got, test.f16)
		}
		if got := bfloat16Bits(test.x); got != test.bf16 {
			t.Errorf("%g in bf16 is %04x, want %04x", test.x, got, test.bf16)
		}
	}
}
