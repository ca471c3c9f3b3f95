package ort

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
)

// half is the value of an fp16, from its definition.
func half(x uint16) float64 {
	sign, exponent, fraction := 1.0, int(x>>10&0x1f), float64(x&0x3ff)
	if x&0x8000 != 0 {
		sign = -1
	}
	switch {
	case exponent == 0x1f && fraction != 0:
		return math.NaN()
	case exponent == 0x1f:
		return math.Inf(int(sign))
	case exponent == 0:
		return sign * math.Ldexp(fraction, -24)
	}
	return sign * math.Ldexp(1024+fraction, exponent-25)
}

func brain(x uint16) float64 { return float64(math.Float32frombits(uint32(x) << 16)) }

// nearest checks that y is the number of a 16-bit type that lies nearest to x, the even one of two. Neighbours of a float
// have neighbouring bits, and the step beyond the largest finite one counts as if the range went on.
func nearest(t *testing.T, x float32, y uint16, value func(uint16) float64, infinity uint16) {
	t.Helper()
	at := func(bits uint16) float64 {
		if bits == infinity {
			return 2*value(infinity-1) - value(infinity-2)
		}
		return value(bits)
	}
	if math.Signbit(float64(x)) != (y&0x8000 != 0) {
		t.Errorf("%g becomes %#x: the sign is lost", x, y)
	}
	size, mag := math.Abs(float64(x)), y&0x7fff
	far := math.Abs(at(mag) - size)
	for _, other := range []uint16{mag - 1, mag + 1} {
		if other > infinity { // also -1
			continue
		}
		if d := math.Abs(at(other) - size); d < far || d == far && mag&1 == 1 {
			t.Errorf("%g becomes %#x, but %#x is nearer or even", x, y, other)
		}
	}
}

func TestRounding(t *testing.T) {
	for bits := uint64(0); bits < 1<<32; bits += 6007 { // a prime: all exponents, all kinds of fractions
		checkRounding(t, uint32(bits))
	}
	for b := range uint32(1 << 16) { // around every number of both types, and around the middles between two
		for _, middle := range []uint32{b << 16, b<<16 | 0x8000, fromHalf(uint16(b)), fromHalf(uint16(b)) + 0x1000} {
			for d := range uint32(3) {
				checkRounding(t, middle+d-1)
			}
		}
		if t.Failed() {
			return
		}
	}
}

func checkRounding(t *testing.T, bits uint32) {
	t.Helper()
	x := math.Float32frombits(bits)
	h, b := toHalf(bits), toBrain(bits)
	switch {
	case math.IsNaN(float64(x)):
		if !math.IsNaN(half(h)) || !math.IsNaN(brain(b)) {
			t.Errorf("NaN %#x becomes %#x and %#x", bits, h, b)
		}
	case math.IsInf(float64(x), 0):
		if half(h) != float64(x) || brain(b) != float64(x) {
			t.Errorf("%g becomes %#x and %#x", x, h, b)
		}
	default:
		if math.Abs(float64(x)) < 65536 { // beyond, only infinity is right
			nearest(t, x, h, half, halfInfinity)
		} else if h&0x7fff != halfInfinity {
			t.Errorf("%g becomes %#x", x, h)
		}
		nearest(t, x, b, brain, brainInfinity)
	}
}

func TestWidening(t *testing.T) {
	for x := range 1 << 16 {
		want := half(uint16(x))
		if got := float64(math.Float32frombits(fromHalf(uint16(x)))); got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Fatalf("%#x becomes %g, want %g", x, got, want)
		}
		if back := toHalf(fromHalf(uint16(x))); back != uint16(x) && !math.IsNaN(want) {
			t.Fatalf("%#x comes back as %#x", x, back)
		}
	}
}

// Every pair of types, through the bytes.
func TestConvert(t *testing.T) {
	numbers := []float32{0, 1, -2.5, 0.333251953125, 1024}
	of := map[checkpoint.DType][]byte{}
	for _, x := range numbers {
		bits := math.Float32bits(x)
		of[checkpoint.F32] = binary.LittleEndian.AppendUint32(of[checkpoint.F32], bits)
		of[checkpoint.F16] = binary.LittleEndian.AppendUint16(of[checkpoint.F16], toHalf(bits))
		of[checkpoint.BF16] = binary.LittleEndian.AppendUint16(of[checkpoint.BF16], toBrain(bits))
	}
	for from := range of {
		for to := range of {
			got := make([]byte, len(of[to]))
			if x, ok := convert(got, to, of[from], from); !ok {
				t.Errorf("%s to %s: %g overflows", from, to, x)
			}
			want := of[to]
			if from == checkpoint.BF16 { // it has lost something before
				want = make([]byte, len(want))
				wide := make([]byte, 4*len(numbers))
				convert(wide, checkpoint.F32, of[from], from)
				convert(want, to, wide, checkpoint.F32)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s to %s: %s", from, to, diff)
			}
		}
	}
	for _, c := range []struct {
		from, to checkpoint.DType
		bits     uint32
		overflow bool
	}{
		{checkpoint.F32, checkpoint.F16, math.Float32bits(65519), false},
		{checkpoint.F32, checkpoint.F16, math.Float32bits(65520), true},
		{checkpoint.F32, checkpoint.F16, math.Float32bits(float32(math.Inf(-1))), false},
		{checkpoint.F32, checkpoint.BF16, math.Float32bits(math.MaxFloat32), true},
		{checkpoint.BF16, checkpoint.F16, 0x4780, true},  // 65536
		{checkpoint.BF16, checkpoint.F16, 0x477f, false}, // 65280
		{checkpoint.BF16, checkpoint.F16, 0x7f80, false},
		{checkpoint.BF16, checkpoint.F16, 0xffc0, false}, // NaN
		{checkpoint.F16, checkpoint.BF16, 0x7bff, false}, // 65504
	} {
		src := binary.LittleEndian.AppendUint32(nil, c.bits)[:c.from.Size()]
		if x, ok := convert(make([]byte, 2), c.to, src, c.from); ok == c.overflow {
			t.Errorf("%s %#x to %s: %g, %v", c.from, c.bits, c.to, x, ok)
		}
	}
}

// Uploads of large, strided, and tiny weights, at odd offsets, give what a plain reading of the checkpoint gives.
func TestUploadWeights(t *testing.T) {
	rt := openRuntime(t, Config{})
	const rows, columns = 2000, 1501 // more than one piece
	data := make([]float32, rows*columns)
	for i := range data {
		data[i] = float32(i%4093)/64 - 17
	}
	file := weightFile(t, 131, bytesOf(data))
	sources := []*checkpoint.Tensor{
		stored(file, 131, checkpoint.F32, nil, rows, columns),
		stored(file, 131, checkpoint.F32, []int64{1, columns}, columns, rows), // transposed
		stored(file, 131+40, checkpoint.F32, []int64{0, 3}, 5, 7),             // expanded, with gaps
		stored(file, 131, checkpoint.F32, nil),
		stored(file, 131, checkpoint.F32, nil, 0, 3),
	}
	for _, p := range []Place{{}, {Kind: Arena}} {
		for _, dtype := range []checkpoint.DType{checkpoint.F32, checkpoint.F16, checkpoint.BF16} {
			var weights []weight
			for _, s := range sources {
				w, err := bound(graph.BoundWeight{Port: graph.Port{Name: "w", DType: dtype, Shape: s.Shape}, Tensor: s})
				if err != nil {
					t.Fatal(err)
				}
				weights = append(weights, w)
			}
			shelf, err := rt.NewShelf(p)
			if err != nil {
				t.Fatal(err)
			}
			tensors, err := shelf.take(t.Context(), weights)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range weights {
				host, err := tensors[w.id()].ToHost(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				want := make([]byte, w.size())
				convert(want, dtype, bytesOf(rowMajor(w.from, data[(w.from.Offset-131)/4:])), checkpoint.F32)
				if !bytes.Equal(want, host.Bytes()) {
					t.Errorf("%s: %v as %s is not what the file holds", p, w.from, dtype)
				}
				closeAll(t, host)
			}
			shelf.give(tensors)
			closeAll(t, shelf)
			if rt.Held(p) != 0 {
				t.Errorf("%s: %d bytes are left", p, rt.Held(p))
			}
		}
	}
}

// rowMajor lists the elements of a tensor that begins at data, of at most two dimensions.
func rowMajor(x *checkpoint.Tensor, data []float32) (list []float32) {
	shape, stride := append([]int64{1, 1}, x.Shape...), append([]int64{0, 0}, x.Stride...)
	shape, stride = shape[len(x.Shape):], stride[len(x.Shape):]
	for i := range shape[0] {
		for j := range shape[1] {
			list = append(list, data[i*stride[0]+j*stride[1]])
		}
	}
	return list
}
