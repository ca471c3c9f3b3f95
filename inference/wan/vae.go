package wan

import (
	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/nn"
)

// One latent pixel stands for SpatialStride × SpatialStride video pixels and TemporalStride video frames, but the first
// latent frame for the first video frame alone.
const (
	SpatialStride  = 8
	TemporalStride = 4
)

// LatentFrames is the number of latent frames of a clip. Frames beyond 1+4k have none: they are dropped.
func LatentFrames(frames int) int { return 1 + (frames-1)/TemporalStride }

// VideoFrames is the number of frames that latent frames decode to.
func VideoFrames(latent int) int { return 1 + (latent-1)*TemporalStride }

// EncoderTransient is the number of latent frames that see the beginning of the clip. A latent frame of the encoder depends
// on the 4·28 video frames before its own: two per causal convolution, times the frames that one of its inputs stands for
// (1 + 4 convolutions on all frames, 4 more, one that halves; 4 on every second, one that halves; 9 on every fourth).
const EncoderTransient = (2*(1+4+4+1) + 2*2*(4+1) + 2*4*(4+4+1)) / TemporalStride

// latentMean and latentStd normalise each latent channel for the transformer.
var (
	latentMean = [LatentChannels]float32{-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
		0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921}
	latentStd = [LatentChannels]float32{2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
		3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160}
)

// VAE is the causal video autoencoder of Wan 2.1 (Wan 2025, §4.1). It works through a clip in chunks: the first frame
// alone, then four frames (one latent frame) at a time, and remembers the last two input frames of every temporal
// convolution in between. Reference: humo/models/wan_modules/vae.py.
type VAE struct {
	Encoder   encoder         `weight:"encoder"`
	Quant     nn.CausalConv3D `weight:"conv1"` // 1×1×1: the encoder's result to mean and log variance
	PostQuant nn.CausalConv3D `weight:"conv2"` // 1×1×1: a latent to the decoder's argument
	Decoder   decoder         `weight:"decoder"`

	Compute checkpoint.DType // of the hot arithmetic of the networks below (graph.Options.Compute); the zero value is F32
}

// LoadVAE reads the VAE's tensors off a checkpoint; every size comes from their shapes. All tensors that the encoder
// or the decoder lacks are named in one fault; unused lists names that the network does not know.
func LoadVAE(ix *checkpoint.Index) (v *VAE, unused []string, err error) {
	v = new(VAE)
	if unused, err = nn.Load(v, ix, ""); err != nil {
		return nil, nil, err
	}
	return v, unused, nn.Fit(ix.Path, v.EncoderNetwork(1, 1, First), v.EncoderNetwork(1, 1, Next), v.DecoderNetwork(1, 1, First), v.DecoderNetwork(1, 1, Next))
}

// normalise maps the mean [1, 16, h, w] of a latent frame to the transformer's scale, denormalise maps it back. Both compute
// with the reciprocal of the deviation, rounded, as the reference does.
func normalise(g *graph.Graph, mu graph.Value) graph.Value {
	return g.Mul(g.Sub(mu, perChannel(g, latentMean)), perChannel(g, reciprocal(latentStd)))
}

func denormalise(g *graph.Graph, z graph.Value) graph.Value {
	return g.Add(g.Div(z, perChannel(g, reciprocal(latentStd))), perChannel(g, latentMean))
}

func perChannel(g *graph.Graph, v [LatentChannels]float32) graph.Value {
	return g.Float32s([]int64{1, LatentChannels, 1, 1}, v[:]...)
}

func reciprocal(v [LatentChannels]float32) [LatentChannels]float32 {
	for i, x := range v {
		v[i] = 1 / x
	}
	return v
}
