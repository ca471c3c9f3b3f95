package weights

import (
	"strconv"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
)

// network collects the tensors of one checkpoint, in the order in which its modules are declared.
type network struct {
	dtype checkpoint.DType
	list  []tensor
}

func (n *network) add(name string, v values, shape ...int64) {
	n.list = append(n.list, tensor{name, n.dtype, shape, v})
}

// layer adds NAME.weight of the given shape, [out, in, …], and a small NAME.bias.
func (n *network) layer(name string, gain float64, shape ...int64) {
	n.layerOf(name, fanIn(gain, shape...), around(0, 0.02), shape...)
}

// layerOf is layer with given values.
func (n *network) layerOf(name string, weight, bias values, shape ...int64) {
	n.add(name+".weight", weight, shape...)
	n.add(name+".bias", bias, shape[0])
}

// norm adds the affine parameters of a LayerNorm: near 1 and near 0.
func (n *network) norm(name string, width int64) {
	n.layerOf(name, around(1, 0.05), around(0, 0.02), width)
}

// diagonal is v where row and column of a [rows, width] matrix agree, below limit, and else 0.
func diagonal(width, limit int64, v float32) func(i int64) float32 {
	return func(i int64) float32 {
		if row := i / width; row == i%width && row < limit {
			return v
		}
		return 0
	}
}

// block is the name of module number i of a list.
func block(list string, i int) string { return list + "." + strconv.Itoa(i) }
