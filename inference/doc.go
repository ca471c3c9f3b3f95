// Package inference is the engine: Generate turns a Spec (prompt, voice track, reference pictures, numbers) into a
// Clip, with HuMo as published and ONNX graphs built in Go. It equals the reference; what differs on purpose is listed in
// docs/differences.md.
//
// It knows no job, no HTTP and no object store.
package inference
