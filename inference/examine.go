package inference

// Runtime tells which ONNX Runtime computes: its version and the library's path.
func (e *Engine) Runtime() (version, library string) { return e.rt.Version(), e.rt.Library() }

// Host is the hardware that computes here.
func Host() Machine { return machine() }
