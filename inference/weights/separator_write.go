package weights

import (
	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
)

// passThrough is a vocal separator with the ports of Kim_Vocal_2 that hands the spectrum through, as an ONNX file.
func passThrough() ([]byte, error) {
	m, err := graph.Build("pass_through", graph.Options{}, func(g *graph.Graph) {
		g.Output("output", g.Input("input", checkpoint.F32, 1, 4, 3072, 256))
	})
	if err != nil {
		return nil, err
	}
	return m.Bytes, nil
}
