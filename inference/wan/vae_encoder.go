package wan

import (
	"strconv"

	"github.com/humo-worker/humo-worker/inference/graph"
)

// encoder maps frames [3, H, W] to the parameters of a latent frame [32, H/8, W/8].
type encoder struct {
	In     causal   `weight:"conv1"`         // 3 → c channels, H × W
	Res0   residual `weight:"downsamples.0"` //
	Res1   residual `weight:"downsamples.1"`
	Down2  down2D   `weight:"downsamples.2"` // H/2 × W/2
	Res3   widening `weight:"downsamples.3"` // 2c
	Res4   residual `weight:"downsamples.4"`
	Down5  down3D   `weight:"downsamples.5"` // H/4 × W/4, half the frames
	Res6   widening `weight:"downsamples.6"` // 4c
	Res7   residual `weight:"downsamples.7"`
	Down8  down3D   `weight:"downsamples.8"` // H/8 × W/8, a quarter of the frames
	Res9   residual `weight:"downsamples.9"`
	Res10  residual `weight:"downsamples.10"`
	Middle middle   `weight:"middle"`
	Head   vaeHead  `weight:"head"` // 32
}

func (e *encoder) layers() []layer {
	list := []layer{&e.In, &e.Res0, &e.Res1, &e.Down2, &e.Res3, &e.Res4, &e.Down5.Space, &e.Down5.Time,
		&e.Res6, &e.Res7, &e.Down8.Space, &e.Down8.Time, &e.Res9, &e.Res10}
	return append(append(list, e.Middle.layers()...), &e.Head)
}

// EncoderNetwork encodes one chunk of a clip whose latent frames are height × width pixels: frames "frame.0" … [1, 3, 8h, 8w]
// with values in [-1, 1], one for the first chunk and four for the next, give "latent" [1, 16, h, w], the normalised mean.
func (v *VAE) EncoderNetwork(height, width int64, chunk Chunk) *graph.Network {
	a := newAssembly("vae_encoder", v.Compute, chunk)
	a.Outputs = []string{"latent"}
	frames := 1
	if chunk == Next {
		frames = TemporalStride
	}
	for i := range frames {
		x := a.input(frame{value: FrameName(i), channels: 3, height: SpatialStride * height, width: SpatialStride * width, index: i, of: frames})
		a.run(v.Encoder.layers(), x, func(x frame) {
			a.finish(path(v.Quant.Weight), x, "latent", func(g *graph.Graph, x graph.Value) graph.Value {
				return normalise(g, g.ToFloat32(g.Slice(v.Quant.Forward(g, x), 1, 0, LatentChannels)))
			})
		})
	}
	return &a.Network
}

// FrameName is the name of a chunk's i-th frame as an input or output of a network.
func FrameName(i int) string { return "frame." + strconv.Itoa(i) }
