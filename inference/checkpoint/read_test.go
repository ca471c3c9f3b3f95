package checkpoint

import (
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

func TestReadViews(t *testing.T) {
	data := make([]byte, 24)
	for i := range data {
		data[i] = byte(i)
	}
	f := inMemory(data)
	cases := map[string]struct {
		tensor Tensor
		want   []byte
	}{
		"dense":               {Tensor{DType: U8, Shape: []int64{2, 3}, Stride: []int64{3, 1}, Offset: 4}, []byte{4, 5, 6, 7, 8, 9}},
		"turned":              {Tensor{DType: U8, Shape: []int64{3, 2}, Stride: []int64{1, 3}}, []byte{0, 3, 1, 4, 2, 5}},
		"every other":         {Tensor{DType: F16, Shape: []int64{3}, Stride: []int64{2}, Offset: 2}, []byte{2, 3, 6, 7, 10, 11}},
		"rows with gaps":      {Tensor{DType: U8, Shape: []int64{2, 2}, Stride: []int64{10, 1}, Offset: 12}, []byte{12, 13, 22, 23}},
		"three dimensions":    {Tensor{DType: U8, Shape: []int64{2, 2, 2}, Stride: []int64{1, 4, 8}}, []byte{0, 8, 4, 12, 1, 9, 5, 13}},
		"repeated":            {Tensor{DType: U8, Shape: []int64{2, 3}, Stride: []int64{0, 1}}, []byte{0, 1, 2, 0, 1, 2}},
		"overlapping":         {Tensor{DType: U8, Shape: []int64{2, 2}, Stride: []int64{1, 1}}, []byte{0, 1, 1, 2}},
		"ones, odd strides":   {Tensor{DType: U8, Shape: []int64{1, 2, 1}, Stride: []int64{math.MaxInt64, 1, 99}}, []byte{0, 1}},
		"gap, odd strides":    {Tensor{DType: F16, Shape: []int64{1, 2}, Stride: []int64{math.MaxInt64, 2}}, []byte{0, 1, 4, 5}},
		"scalar at the end":   {Tensor{DType: F32, Offset: 20}, []byte{20, 21, 22, 23}},
		"empty":               {Tensor{DType: F32, Shape: []int64{3, 0}, Stride: []int64{7, 7}, Offset: 24}, []byte{}},
		"as large as allowed": {Tensor{DType: U8, Shape: []int64{24}, Stride: []int64{0}, Offset: 23}, slices.Repeat([]byte{23}, 24)},
	}
	for name, c := range cases {
		got, err := c.tensor.read(f)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, c.want)
		}
	}
}

func TestReadRefusals(t *testing.T) {
	f := inMemory(make([]byte, 24))
	cases := map[string]struct {
		tensor Tensor
		code   string
	}{
		"cut since it was opened": {Tensor{DType: F32, Shape: []int64{6}, Stride: []int64{1}, Offset: 4}, CodeTruncated},
		"view cut":                {Tensor{DType: U8, Shape: []int64{2}, Stride: []int64{24}}, CodeTruncated},
		"behind the end":          {Tensor{DType: U8, Offset: math.MaxInt64}, CodeTruncated},
		"before the start":        {Tensor{DType: U8, Offset: -1}, CodeTruncated},
		"repeated too often":      {Tensor{DType: U8, Shape: []int64{25}, Stride: []int64{0}}, CodeUnsupported},
		"repeated without end":    {Tensor{DType: U8, Shape: []int64{1 << 62}, Stride: []int64{0}}, CodeUnsupported},
		"dimensions overflow":     {Tensor{DType: U8, Shape: []int64{1 << 62, 2}, Stride: []int64{0, 0}}, CodeMalformed},
		"strides overflow":        {Tensor{DType: U8, Shape: []int64{3}, Stride: []int64{math.MaxInt64}}, CodeMalformed},
		"bytes overflow":          {Tensor{DType: F16, Shape: []int64{2}, Stride: []int64{math.MaxInt64/2 + 1}}, CodeMalformed},
		"negative stride":         {Tensor{DType: U8, Shape: []int64{2}, Stride: []int64{-1}, Offset: 1}, CodeMalformed},
		"no stride":               {Tensor{DType: U8, Shape: []int64{2}}, CodeMalformed},
		"no dtype":                {Tensor{Shape: []int64{2}, Stride: []int64{1}}, CodeMalformed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var err error
			used := allocated(func() { _, err = c.tensor.read(f) })
			wantFault(t, err, c.code)
			if used > 64<<10 {
				t.Errorf("refusing took %d bytes", used)
			}
		})
	}
	missing := Tensor{DType: U8, File: filepath.Join(t.TempDir(), "gone")}
	_, err := missing.Float32()
	wantFault(t, err, CodeMissing, "gone")
}

func TestContiguous(t *testing.T) {
	for name, c := range map[string]struct {
		tensor Tensor
		want   bool
	}{
		"scalar":     {Tensor{}, true},
		"dense":      {Tensor{Shape: []int64{2, 3, 4}, Stride: []int64{12, 4, 1}}, true},
		"ones":       {Tensor{Shape: []int64{1, 3, 1}, Stride: []int64{9, 1, 9}}, true},
		"empty":      {Tensor{Shape: []int64{3, 0}, Stride: []int64{1, 1}}, true},
		"turned":     {Tensor{Shape: []int64{2, 3}, Stride: []int64{1, 2}}, false},
		"with gaps":  {Tensor{Shape: []int64{2, 3}, Stride: []int64{4, 1}}, false},
		"every 2nd":  {Tensor{Shape: []int64{3}, Stride: []int64{2}}, false},
		"repetition": {Tensor{Shape: []int64{3}, Stride: []int64{0}}, false},
	} {
		if got := c.tensor.Contiguous(); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestWiden(t *testing.T) {
	inf := float32(math.Inf(1))
	cases := []struct {
		dtype DType
		raw   string
		want  []float32
	}{
		{F32, "\x00\x00\x80\x3f\x01\x00\x00\x80", []float32{1, -math.SmallestNonzeroFloat32}},
		{BF16, "\x80\x3f\x49\xc0\x80\x7f", []float32{1, -3.140625, inf}},
		{F16, "\x00\x3c\xff\x7b\x01\x00\x00\xfc", []float32{1, 65504, 1.0 / (1 << 24), -inf}},
		{F64, le(math.Float64bits(0.1), 8) + le(math.Float64bits(-1e300), 8), []float32{0.1, -inf}},
		{I64, le(1<<40, 8) + le(1<<64-3, 8), []float32{1 << 40, -3}},
		{I32, le(1<<32-1, 4), []float32{-1}},
		{I16, "\x00\x80", []float32{-32768}},
		{I8, "\x7f\x80", []float32{127, -128}},
		{U8, "\x7f\xff", []float32{127, 255}},
		{Bool, "\x00\x01\x02", []float32{0, 1, 1}},
	}
	for _, c := range cases {
		if got := widen([]byte(c.raw), c.dtype); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.dtype, got, c.want)
		}
	}
	if len(cases) != int(Bool-F32)+1 {
		t.Errorf("%d of %d dtypes tested", len(cases), Bool-F32+1)
	}
}

// Every one of the 65,536 half-precision numbers, against its definition.
func TestHalf(t *testing.T) {
	for h := range 1 << 16 {
		exponent, mantissa := h>>10&0x1f, float64(h&0x3ff)
		want := math.Ldexp(1024+mantissa, exponent-25)
		switch {
		case exponent == 0:
			want = math.Ldexp(mantissa, -24)
		case exponent == 0x1f && mantissa == 0:
			want = math.Inf(1)
		case exponent == 0x1f:
			want = math.NaN()
		}
		want = math.Copysign(want, 1-2*float64(h>>15))
		got := float64(half(uint16(h)))
		if same := got == want && math.Signbit(got) == math.Signbit(want); !same && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Fatalf("%04x is %g, want %g", h, got, want)
		}
	}
}

// A checkpoint of the size of ema.pth lists its 1,193 tensors at once.
func BenchmarkOpenTorch1193(b *testing.B) {
	var pairs []string
	entries := []zipEntry{{}}
	for i := range 1193 {
		key := strconv.Itoa(i)
		pairs = append(pairs, "blocks.0.audio_cross_attn_wrapper.audio_cross_attn.k.weight"+key, floats(key, 2))
		entries = append(entries, zipEntry{name: "m/data/" + key, data: twoFloats})
	}
	entries[0] = zipEntry{name: "m/data.pkl", data: pickleOf(pyDict(pairs...))}
	file := zipOf(false, entries...).bytes()
	b.ReportAllocs()
	for b.Loop() {
		if ix, err := openBytes(file); err != nil || len(ix.Tensors) != 1193 {
			b.Fatal(err)
		}
	}
}
