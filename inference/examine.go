package inference

import (
	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/ort"
)

// Runtime tells which ONNX Runtime computes: its version and the library's path.
func (e *Engine) Runtime() (version, library string) { return e.rt.Version(), e.rt.Library() }

// Primary is where the engine's first device computes, and the transformer's type there: for measurements beside clips.
func (e *Engine) Primary() (rt *ort.Runtime, place ort.Place, dtype checkpoint.DType) {
	return e.rt, e.devices[0].place, e.devices[0].dtype
}
