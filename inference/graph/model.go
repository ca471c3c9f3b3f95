package graph

import "github.com/humo-worker/humo-worker/inference/checkpoint"

// Port is a named input or output of a model.
type Port struct {
	Name  string
	DType checkpoint.DType
	Shape []int64
}

// BoundWeight is a weight that the model takes as an input: the caller binds Tensor's bytes to Port.
type BoundWeight struct {
	Port   Port
	Tensor *checkpoint.Tensor
}

// Model is a finished ONNX model. Two stages of the same structure have equal Bytes when their weights are bound
// (they differ in Bound only), which is how the blocks of a network come to share one session.
type Model struct {
	Name    string
	Bytes   []byte // ONNX protobuf; external data has absolute locations without the leading slash
	Inputs  []Port // without the bound weights
	Outputs []Port
	Bound   []BoundWeight
}
