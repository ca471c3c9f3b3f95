package ort

import (
	"math"
	"runtime"

	"golang.org/x/sys/cpu"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
)

// Int8Exact reports whether ONNX Runtime's products of 8-bit matrices are exact on this processor. On x86 without VNNI they are
// not: pairs of products are added in 16 bits, which hold no more than half of what two can be. Weights of 7 bits would avoid it,
// at twice the error and little gain in time there, so 8-bit layers are refused instead.
func Int8Exact() bool {
	return runtime.GOARCH != "amd64" || cpu.X86.HasAVX512VNNI || cpu.X86.HasAVXVNNI
}

// quantiseRows is how many rows are rounded before they are written as columns: as many bytes as a cache line has.
const quantiseRows = 64

// quantise prepares a matrix [out, in] as graph.Int8Columns and Int8Scales say. src are its elements, row-major.
func quantise(dst []byte, w weight, src []byte) error {
	out, in := int(w.from.Shape[0]), int(w.from.Shape[1])
	row, size := make([]byte, 4*in), in*int(w.from.DType.Size())
	rounded := make([]byte, min(quantiseRows, out)*in)
	for first := 0; first < out; first += quantiseRows {
		n := min(quantiseRows, out-first)
		for k := range n {
			if x, ok := convert(row, checkpoint.F32, src[(first+k)*size:(first+k+1)*size], w.from.DType); !ok {
				return tooLarge(w.from, x, checkpoint.F32)
			}
			x := elements[float32](row)
			scale := int8Scale(x)
			if w.prepare == graph.Int8Scales {
				elements[float32](dst)[first+k] = scale
				continue
			}
			for i, v := range x {
				rounded[k*in+i] = byte(int8(math.RoundToEven(float64(v / scale))))
			}
		}
		if w.prepare == graph.Int8Scales {
			continue
		}
		for i := range in {
			column := dst[i*out+first : i*out+first+n]
			for k := range column {
				column[k] = rounded[k*in+i]
			}
		}
	}
	return nil
}

// int8Scale is a 127th of the largest magnitude, but not zero.
func int8Scale(row []float32) float32 {
	largest := float32(1e-30)
	for _, x := range row {
		largest = max(largest, x, -x)
	}
	return largest / 127
}
