package inference

import "github.com/humo-worker/humo-worker/inference/wan"

// Latent is a clip in the VAE's latent space: Data is [16, Frames, Height, Width] row-major, normalised.
type Latent struct {
	Frames, Height, Width int
	Data                  []float32
}

// NewLatent returns a latent of zeros.
func NewLatent(frames, height, width int) *Latent {
	return &Latent{frames, height, width, make([]float32, wan.LatentChannels*frames*height*width)}
}

// Slice copies the frames [from, to).
func (l *Latent) Slice(from, to int) *Latent {
	out := NewLatent(to-from, l.Height, l.Width)
	out.Paste(0, l, from, to)
	return out
}

// Paste copies the frames [from, to) of src to the frames that start at.
func (l *Latent) Paste(at int, src *Latent, from, to int) {
	frame := l.Height * l.Width
	for c := range wan.LatentChannels {
		copy(l.Data[(c*l.Frames+at)*frame:][:(to-from)*frame], src.Data[(c*src.Frames+from)*frame:])
	}
}
