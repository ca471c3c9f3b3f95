package nn

import (
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/graph"
)

// Fit builds networks at a small size to see that every tensor of the checkpoint has the shape that they need: so a wrong
// file is told when it is opened, in milliseconds, and not in the middle of a clip. The fault's code is "wrong_shape".
func Fit(file string, networks ...*graph.Network) error {
	for _, n := range networks {
		if _, err := n.Split(graph.Options{Weights: graph.Bound}); err != nil {
			return fault.New("wrong_shape", file, "a tensor does not have the shape that the network needs; fetch the published file again. %s", err)
		}
	}
	return nil
}
