package graph

import "github.com/humo-worker/humo-worker/inference/checkpoint"

// Port is a named input or output of a model.
type Port struct {
	Name  string
	DType checkpoint.DType
	Shape []int64
}

// BoundWeight is a weight that the model takes as an input: the caller binds Tensor's bytes to Port, or what Prepare makes of
// them.
type BoundWeight struct {
	Port    Port
	Tensor  *checkpoint.Tensor
	Prepare Preparation
}

// Preparation is what is to be made of a weight before it is bound, beside a conversion to the port's dtype.
type Preparation uint8

// Preparations.
const (
	AsStored Preparation = iota
	// Int8Columns and Int8Scales make a matrix [out, in] of numbers in 8 bits: each row is divided by its scale, a 127th of its
	// largest magnitude, and rounded to even. Int8Columns is the transpose, int8 [in, out]; Int8Scales are the scales, float32
	// [out].
	Int8Columns
	Int8Scales
)

// Model is a finished ONNX model. Two stages of the same structure have equal Bytes when their weights are bound
// (they differ in Bound only), which is how the blocks of a network come to share one session.
type Model struct {
	Name    string
	Bytes   []byte // ONNX protobuf; external data has absolute locations without the leading slash
	Inputs  []Port // without the bound weights
	Outputs []Port
	Bound   []BoundWeight
	Nodes   []Node  // what Bytes hold, for those who judge a graph without running it
	Inline  []Value // constants that lie in Bytes
}

// Node is an operator of a model with the values that it reads and leaves; an absent input has the zero Value.
type Node struct {
	Op, Domain, Path string
	In, Out          []Value
}
