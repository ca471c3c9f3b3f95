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

// Copies are the weights that a chain does not bind as they lie in their files.
type Copies struct {
	Bytes int64 // of all of them, where the chain's Place is
	Int8  int   // matrices in 8 bits among them
}

// CopiesOf counts what the first Runs of chains in 8 bits copy. Nothing is read.
func CopiesOf(networks ...*graph.Network) (c Copies, err error) {
	for _, n := range networks {
		models, build, err := ChainOptions{Int8: true}.build(n)
		if err != nil {
			return c, err
		}
		if build.Weights != graph.Converted {
			continue // all are bound
		}
		all, err := needsOf(models)
		if err != nil {
			return c, err
		}
		_, size := layOut(all.weights)
		c.Bytes, c.Int8 = c.Bytes+size, c.Int8+rounded(models)
	}
	return c, nil
}

// rounded is how many matrices the models take in 8 bits.
func rounded(models []*graph.Model) (n int) {
	for _, m := range models {
		for _, b := range m.Bound {
			if b.Prepare == graph.Int8Columns {
				n++
			}
		}
	}
	return n
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
