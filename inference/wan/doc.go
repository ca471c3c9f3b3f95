// Package wan holds HuMo's two own networks as graphs: the diffusion transformer (DiT) and the Wan 2.1 VAE. Their structs
// mirror the checkpoints' names, and every size is read off the tensors' shapes, so a tiny checkpoint and the 17B run
// through the same code.
//
// It builds graphs and the tables that they take as inputs; it knows no ONNX Runtime and no job.
package wan
