package weights

import (
	"math"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
)

// vaeTensors are the Wan VAE's, in F32, in the order of its modules. The encoder is random; the decoder's kernels are
// random mixtures of channels with smooth shapes in space and time, so that its pictures show colours, not grain.
func vaeTensors(d VAEDims) []tensor {
	n := &network{dtype: checkpoint.F32}
	c := d.Dim
	v := vae{network: n, conv: func(name string, gain float64, shape ...int64) { n.layer(name, gain, shape...) }}

	v.conv("encoder.conv1", 1, c, 3, 3, 3, 3)
	e := "encoder.downsamples"
	v.stage(e, 0, c, c, "down2d")
	v.stage(e, 3, c, 2*c, "down3d")
	v.stage(e, 6, 2*c, 4*c, "down3d")
	v.stage(e, 9, 4*c, 4*c, "")
	v.ends("encoder", 4*c, 32)

	n.layerOf("conv1", fanIn(0.5, 32, 32).plus(diagonal(32, 32, 1)), around(0, 0.02), 32, 32, 1, 1, 1)
	n.layerOf("conv2", fanIn(0.5, 16, 16).plus(diagonal(16, 16, 1)), around(0, 0.02), 16, 16, 1, 1, 1)

	v.conv = v.smoothConv
	v.conv("decoder.conv1", 1, 4*c, 16, 3, 3, 3)
	v.middle("decoder", 4*c)
	u := "decoder.upsamples"
	v.residual(block(u, 0), 4*c, 4*c)
	v.stage(u, 1, 4*c, 4*c, "up3d")
	v.residual(block(u, 4), 2*c, 4*c)
	v.stage(u, 5, 4*c, 4*c, "up3d")
	v.residual(block(u, 8), 2*c, 2*c)
	v.stage(u, 9, 2*c, 2*c, "up2d")
	v.residual(block(u, 12), c, c)
	v.stage(u, 13, c, c, "")
	n.add("decoder.head.0.gamma", around(1, 0.05), c, 1, 1, 1)
	v.conv("decoder.head.2", 0.9, 3, c, 3, 3, 3)
	return n.list
}

type vae struct {
	*network
	conv func(name string, gain float64, shape ...int64)
}

// stage adds residual blocks at K and K+1 and the resampling layer, if any, at K+2.
func (v vae) stage(list string, k int, in, out int64, resample string) {
	v.residual(block(list, k), in, out)
	v.residual(block(list, k+1), out, out)
	name := block(list, k+2)
	switch resample {
	case "down2d":
		v.conv(name+".resample.1", 1, out, out, 3, 3)
	case "down3d":
		v.conv(name+".resample.1", 1, out, out, 3, 3)
		v.conv(name+".time_conv", 1, out, out, 3, 1, 1)
	case "up2d":
		v.conv(name+".resample.1", 1, out/2, out, 3, 3)
	case "up3d":
		v.conv(name+".resample.1", 1, out/2, out, 3, 3)
		v.doubleTime(name+".time_conv", out)
	}
}

func (v vae) residual(name string, in, out int64) {
	v.add(name+".residual.0.gamma", around(1, 0.05), in, 1, 1, 1)
	v.conv(name+".residual.2", 1.4, out, in, 3, 3, 3)
	v.add(name+".residual.3.gamma", around(1, 0.05), out, 1, 1, 1)
	v.conv(name+".residual.6", 0.7, out, out, 3, 3, 3)
	if in != out {
		v.layer(name+".shortcut", 1, out, in, 1, 1, 1)
	}
}

func (v vae) middle(part string, c int64) {
	v.residual(part+".middle.0", c, c)
	v.add(part+".middle.1.norm.gamma", around(1, 0.05), c, 1, 1)
	v.layer(part+".middle.1.to_qkv", 1, 3*c, c, 1, 1)
	v.layer(part+".middle.1.proj", 0.5, c, c, 1, 1)
	v.residual(part+".middle.2", c, c)
}

// ends adds what follows the encoder's stages.
func (v vae) ends(part string, c, out int64) {
	v.middle(part, c)
	v.add(part+".head.0.gamma", around(1, 0.05), c, 1, 1, 1)
	v.conv(part+".head.2", 1, out, c, 3, 3, 3)
}

// smoothConv adds a convolution whose kernels are random multiples of one smooth shape plus a little noise: [1 2 1]/4
// along rows and columns, and, where there is time, weight on the newest two frames.
func (v vae) smoothConv(name string, gain float64, shape ...int64) {
	taps := int64(1)
	for _, d := range shape[2:] {
		taps *= d
	}
	seed, std := hash(name+".mixture"), float32(gain/math.Sqrt(float64(shape[1]))*noiseUnit)
	v.layerOf(name, fanIn(0.25*gain, shape...).plus(func(i int64) float32 {
		tap := i % taps
		k := smooth[tap%3] * smooth[tap/3%3]
		if taps == 27 {
			k *= newest[tap/9]
		}
		return float32(noise(seed, i/taps) * std * k)
	}), around(0, 0.1), shape...)
}

// doubleTime adds the convolution that makes two frames of each: the first half-way from the frame before, the second
// the frame itself.
func (v vae) doubleTime(name string, c int64) {
	v.layerOf(name, fanIn(0.1, 2*c, c, 3).plus(func(i int64) float32 {
		row, col, tap := i/(3*c), i/3%c, i%3
		if row%c != col {
			return 0
		}
		return between[row/c][tap]
	}), around(0, 0.02), 2*c, c, 3, 1, 1)
}

var (
	smooth  = [3]float32{0.25, 0.5, 0.25}
	newest  = [3]float32{0, 0.25, 0.75}
	between = [2][3]float32{{0, 0.5, 0.5}, {0, 0, 1}}
)
