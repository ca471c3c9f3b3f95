package pack

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
)

// written is a safetensors file of F32 tensors.
func written(t *testing.T, file string, shape []int64, tensors map[string][]float32) *checkpoint.Index {
	t.Helper()
	head, data := map[string]any{}, []byte{}
	for name, values := range tensors {
		at, s := len(data), shape
		if strings.HasSuffix(name, "bias") {
			s = []int64{int64(len(values))}
		}
		for _, v := range values {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
		}
		head[name] = map[string]any{"dtype": "F32", "shape": s, "data_offsets": []int{at, len(data)}}
	}
	text, err := json.Marshal(head)
	if err != nil {
		t.Fatal(err)
	}
	whole := append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)
	if err := os.WriteFile(file, append(whole, data...), 0o600); err != nil {
		t.Fatal(err)
	}
	return opened(t, file)
}

func opened(t *testing.T, file string) *checkpoint.Index {
	t.Helper()
	ix, err := checkpoint.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	return ix
}

// print is a fingerprint for tests: all of the file.
func print(file string) (string, error) {
	data, err := os.ReadFile(file)
	return fmt.Sprintf("%x", data[max(0, len(data)-64):]), err
}

// odd are numbers at which roundings go wrong, and 2000 plain ones.
func odd() []float32 {
	list := []float32{0, float32(math.Copysign(0, -1)), 1, -1, 1 + 1.0/256, 1 + 3.0/256, 1 + 1.0/2048, 1 + 3.0/2048, 65504, -65504, 5.9e-8, 6.1e-5, 1e-30, 3.0517578e-05,
		float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), math.Float32frombits(0x7f800001), math.Float32frombits(0xffbfffff)}
	for i := range 2001 {
		list = append(list, float32(math.Sin(float64(i)*12.9898)*math.Pow(2, float64(i%24-14))))
	}
	return list
}

// nearest is the number of a small format that is nearest to v, ties to even, found in float64.
func nearest(v float32, fraction, least int) float32 {
	x := float64(v)
	if x == 0 || math.IsInf(x, 0) || math.IsNaN(x) {
		return v
	}
	_, e := math.Frexp(x)
	unit := math.Ldexp(1, max(e-1-fraction, least))
	return float32(math.RoundToEven(x/unit) * unit)
}

func order(t *testing.T, dir string, dtype checkpoint.DType, tensors map[string][]float32) Order {
	t.Helper()
	n := int64(len(tensors["a.weight"]))
	ix := written(t, filepath.Join(dir, "source.safetensors"), []int64{n / 2, 2}, tensors)
	return Order{Source: ix, Names: ix.Names(), To: filepath.Join(dir, "packed.safetensors"), DType: dtype, Fingerprint: print}
}

func TestValuesAreTheNearest(t *testing.T) {
	for _, test := range []struct {
		dtype           checkpoint.DType
		fraction, least int
	}{{checkpoint.BF16, 7, -133}, {checkpoint.F16, 10, -24}} {
		values := odd()
		o := order(t, t.TempDir(), test.dtype, map[string][]float32{"a.weight": values, "a.bias": values, "left.bias": {1, 2}})
		o.Names = []string{"a.weight", "a.bias"}
		r, err := Write(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		ix := opened(t, o.To)
		if len(ix.Tensors) != 2 || r.Already || r.Bytes != sizeOf(o.To) || r.Read != int64(8*len(values)) {
			t.Errorf("%d tensors, result %+v", len(ix.Tensors), r)
		}
		for name, want := range map[string]checkpoint.DType{"a.weight": test.dtype, "a.bias": checkpoint.F32} {
			tensor := ix.Tensors[name]
			if tensor.DType != want {
				t.Fatalf("%s is %s, want %s", name, tensor.DType, want)
			}
			got, err := tensor.Float32()
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range values {
				expect := v
				if want != checkpoint.F32 {
					expect = nearest(v, test.fraction, test.least)
				}
				same := math.Float32bits(got[i]) == math.Float32bits(expect) || v != v && got[i] != got[i] && math.Signbit(float64(v)) == math.Signbit(float64(got[i]))
				if !same {
					t.Errorf("%s %s: %g (%#x) became %g, want %g", name, want, v, math.Float32bits(v), got[i], expect)
				}
			}
		}
	}
}

func TestOverflowNamesTheTensor(t *testing.T) {
	for _, test := range []struct {
		dtype checkpoint.DType
		value float32
		fits  bool
	}{{checkpoint.F16, 65519, true}, {checkpoint.F16, 65520, false}, {checkpoint.F16, -1e6, false}, {checkpoint.BF16, 1e6, true}, {checkpoint.BF16, math.MaxFloat32, false}} {
		dir := t.TempDir()
		o := order(t, dir, test.dtype, map[string][]float32{"a.weight": {1, test.value}})
		_, err := Write(t.Context(), o)
		if (err == nil) != test.fits {
			t.Errorf("%g as %s: %v", test.value, test.dtype, err)
		}
		if !test.fits && (fault.CodeOf(err) != "overflow" || !strings.Contains(err.Error(), "a.weight")) {
			t.Errorf("%g as %s: %v", test.value, test.dtype, err)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "packed*")); (len(left) == 0) == test.fits {
			t.Errorf("%g as %s left %q", test.value, test.dtype, left)
		}
	}
}

// A second run changes nothing; another source, a cut copy and what a killed run left are put right; a foreign file stays.
func TestWriteAgain(t *testing.T) {
	dir := t.TempDir()
	o := order(t, dir, checkpoint.BF16, map[string][]float32{"a.weight": {1, 2, 3, 4}})
	if err := os.WriteFile(o.To+".part", bytes.Repeat([]byte("left"), 1000), 0o600); err != nil { // by a killed run
		t.Fatal(err)
	}
	write := func() *Result {
		t.Helper()
		r, err := Write(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(o.To, o.Source.Files, o.DType, print); err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := write(); r.Already {
		t.Error("a first run found its work done")
	}
	first, err := os.ReadFile(o.To)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(o.To)
	if err != nil {
		t.Fatal(err)
	}
	if r := write(); !r.Already || r.Bytes != int64(len(first)) {
		t.Errorf("second run: %+v", r)
	}
	if after, err := os.Stat(o.To); err != nil || !os.SameFile(before, after) || after.ModTime() != before.ModTime() {
		t.Error("a second run wrote the file again")
	}

	if err := os.Truncate(o.To, int64(len(first)-1)); err != nil {
		t.Fatal(err)
	}
	if err := Check(o.To, o.Source.Files, o.DType, print); err == nil {
		t.Error("a copy that was cut passes")
	}
	if r := write(); r.Already {
		t.Error("a copy that was cut counts as done")
	}
	if again, err := os.ReadFile(o.To); err != nil || !bytes.Equal(again, first) {
		t.Error("the repaired copy differs")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.part")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}

	o = order(t, dir, checkpoint.BF16, map[string][]float32{"a.weight": {5, 6, 7, 8}})
	if err := Check(o.To, o.Source.Files, o.DType, print); err == nil || !strings.Contains(err.Error(), "another source.safetensors") {
		t.Errorf("another source: %v", err)
	}
	if r := write(); r.Already {
		t.Error("a copy of another file counts as done")
	}
	if err := Check(o.To, o.Source.Files, checkpoint.F16, print); err == nil {
		t.Error("a copy in another format passes")
	}

	for _, foreign := range [][]byte{[]byte("somebody's"), first[:4], nil} {
		if err := os.WriteFile(o.To, foreign, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Write(t.Context(), o); fault.CodeOf(err) != "unexpected_file" {
			t.Errorf("over a foreign file: %v", err)
		}
		if there, err := os.ReadFile(o.To); err != nil || !bytes.Equal(there, foreign) {
			t.Errorf("the foreign file became %q, %v", there, err)
		}
	}
}

// A run that is broken off at any moment leaves nothing.
func TestInterruptedLeavesNothing(t *testing.T) {
	for stop := range 4 {
		dir := t.TempDir()
		o := order(t, dir, checkpoint.BF16, map[string][]float32{"a.weight": make([]float32, 2<<20)})
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		o.Progress = func(int64, int64) {
			if calls++; calls > stop {
				cancel()
			}
		}
		if _, err := Write(ctx, o); !errors.Is(err, context.Canceled) {
			t.Errorf("stopped after %d: %v", stop, err)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "packed*")); len(left) > 0 {
			t.Errorf("stopped after %d: left %q", stop, left)
		}
		cancel()
	}
}

func TestNothingToPack(t *testing.T) {
	o := order(t, t.TempDir(), checkpoint.BF16, map[string][]float32{"a.weight": {1, 2}, "a.bias": {1}})
	o.Names = []string{"a.bias"}
	if _, err := Write(t.Context(), o); fault.CodeOf(err) != "nothing_to_pack" {
		t.Errorf("got %v", err)
	}
}
