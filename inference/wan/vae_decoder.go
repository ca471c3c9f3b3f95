package wan

import (
	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
)

// decoder maps latent frames [16, h, w] to video frames [3, 8h, 8w].
type decoder struct {
	In     causal   `weight:"conv1"` // 16 → 4c channels, h × w
	Middle middle   `weight:"middle"`
	Res0   residual `weight:"upsamples.0"`
	Res1   residual `weight:"upsamples.1"`
	Res2   residual `weight:"upsamples.2"`
	Up3    up3D     `weight:"upsamples.3"` // 2c, 2h × 2w, twice the frames
	Res4   widening `weight:"upsamples.4"` // 4c
	Res5   residual `weight:"upsamples.5"`
	Res6   residual `weight:"upsamples.6"`
	Up7    up3D     `weight:"upsamples.7"` // 2c, 4h × 4w, four times the frames
	Res8   residual `weight:"upsamples.8"`
	Res9   residual `weight:"upsamples.9"`
	Res10  residual `weight:"upsamples.10"`
	Up11   up2D     `weight:"upsamples.11"` // c, 8h × 8w
	Res12  residual `weight:"upsamples.12"`
	Res13  residual `weight:"upsamples.13"`
	Res14  residual `weight:"upsamples.14"`
	Head   vaeHead  `weight:"head"` // 3
}

func (d *decoder) layers() []layer {
	list := append([]layer{&d.In}, d.Middle.layers()...)
	return append(list, &d.Res0, &d.Res1, &d.Res2, &d.Up3.Time, &d.Up3.Space, &d.Res4, &d.Res5, &d.Res6, &d.Up7.Time, &d.Up7.Space,
		&d.Res8, &d.Res9, &d.Res10, &d.Up11, &d.Res12, &d.Res13, &d.Res14, &d.Head)
}

// DecoderNetwork decodes one latent frame of height × width pixels: "latent" [1, 16, h, w] gives "frame.0" … [1, 3, 8h, 8w],
// float32 with values in [-1, 1], one frame for the first chunk and four for the next.
func (v *VAE) DecoderNetwork(height, width int64, chunk Chunk) *graph.Network {
	return v.decoder(height, width, chunk, func(g *graph.Graph, x graph.Value) graph.Value { return g.Clip(x, -1, 1) })
}

// PictureNetwork is DecoderNetwork with pictures for frames: "frame.0" … are uint8 [8h, 8w, 3], 0 for -1 and 255 for 1, truncated as in
// the reference.
func (v *VAE) PictureNetwork(height, width int64, chunk Chunk) *graph.Network {
	return v.decoder(height, width, chunk, func(g *graph.Graph, x graph.Value) graph.Value {
		half := g.Scalar(0.5)
		x = g.Mul(g.Add(g.Mul(g.Clip(x, -1, 1), half), half), g.Scalar(255))
		x = g.Cast(g.Reshape(x, x.Shape[1:]...), checkpoint.U8)
		return g.Transpose(x, 1, 2, 0)
	})
}

// decoder ends with finish, which is given each frame [1, 3, 8h, 8w] in float32.
func (v *VAE) decoder(height, width int64, chunk Chunk, finish func(g *graph.Graph, x graph.Value) graph.Value) *graph.Network {
	a := newAssembly("vae_decoder", v.Compute, chunk)
	z := a.input(frame{value: "latent", channels: LatentChannels, height: height, width: width, of: 1})
	x := a.still(path(v.PostQuant.Weight), z, z.withChannels(v.PostQuant.Bias), func(g *graph.Graph, z graph.Value) graph.Value {
		return v.PostQuant.Forward(g, g.ToCompute(denormalise(g, z)))
	})
	a.run(v.Decoder.layers(), x, func(x frame) {
		a.finish("clamp", x, FrameName(x.index), func(g *graph.Graph, x graph.Value) graph.Value { return finish(g, g.ToFloat32(x)) })
		a.Outputs = append(a.Outputs, FrameName(x.index))
	})
	return &a.Network
}
