package inference

import (
	"github.com/humo-worker/humo-worker/inference/media"
	"github.com/humo-worker/humo-worker/inference/wan"
)

// previewFactors map a normalised latent pixel to red, green and blue in [-1, 1], and previewBias is added: a linear fit to
// Wan 2.1's decoder that is published with several of its front ends.
var (
	previewFactors = [wan.LatentChannels][3]float32{
		{-0.1299, -0.1692, 0.2932}, {0.0671, 0.0406, 0.0442}, {0.3568, 0.2548, 0.1747}, {0.0372, 0.2344, 0.1420},
		{0.0313, 0.0189, -0.0328}, {0.0296, -0.0956, -0.0665}, {-0.3477, -0.4059, -0.2925}, {0.0166, 0.1902, 0.1975},
		{-0.0412, 0.0267, -0.1364}, {-0.1293, 0.0740, 0.1636}, {0.0680, 0.3019, 0.1128}, {0.0032, 0.0581, 0.0639},
		{-0.1251, 0.0927, 0.1699}, {0.0060, -0.0633, 0.0005}, {0.3477, 0.2275, 0.2950}, {0.1984, 0.0913, 0.1861},
	}
	previewBias = [3]float32{-0.1835, -0.0868, -0.3360}
)

// toByte maps [-1, 1] to 0…255 and truncates, as the decoder does.
func toByte(v float32) byte { return byte((min(max(v, -1), 1)*0.5 + 0.5) * 255) }

// preview is what a latent frame will look like, one pixel for each latent pixel: a hint, made without the VAE.
func preview(z *Latent, frame int) *media.Picture {
	one := z.Slice(frame, frame+1)
	p := &media.Picture{Width: z.Width, Height: z.Height, RGB: make([]uint8, 3*z.Width*z.Height)}
	pixels := z.Width * z.Height
	for i := range pixels {
		rgb := previewBias
		for c, f := range previewFactors {
			for k := range rgb {
				rgb[k] += f[k] * one.Data[c*pixels+i]
			}
		}
		for k, v := range rgb {
			p.RGB[3*i+k] = toByte(v)
		}
	}
	return p
}
