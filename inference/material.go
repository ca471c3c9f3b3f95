package inference

import (
	"context"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/media"
)

// MaxAudioSeconds bounds the decoded length of a voice track.
const MaxAudioSeconds = 600

// Material is what a clip is made of, decoded.
type Material struct {
	Audio    *media.Audio     // the voice track as it lies in its file; nil: Spec.AudioPath is opened where it is needed
	Wave     []float32        // 16 kHz mono, of the whole track
	Pictures []*media.Picture // TIA: in the order given, each fitted to the clip's size (AddPicture)
	Noise    []float32        // [16, F + references, h, w]; nil: drawn from Spec.Seed
}

// AddPicture adds a reference picture, fitted to the clip's size: eight as they were sent might take a gigabyte.
func (m *Material) AddPicture(p *media.Picture, width, height int) {
	m.Pictures = append(m.Pictures, &media.Picture{Width: width, Height: height, RGB: media.Letterbox(p, width, height)})
}

// material is what the caller has decoded, or decodes it.
func (s *Spec) material(ctx context.Context) (*Material, error) {
	if s.Material == nil {
		return Decode(ctx, s)
	}
	if n := len(s.Material.Pictures); n != len(s.ImagePaths) {
		return nil, fault.New("images_missing", "images", "%d of %d reference images are decoded; decode all", n, len(s.ImagePaths))
	}
	return s.Material, s.checkImages()
}

func (s *Spec) checkImages() error {
	if s.Mode == TIA && len(s.ImagePaths) == 0 {
		return fault.New("images_missing", "images", "mode TIA needs 1 to 8 reference images; give some, or use mode TA")
	}
	if s.Mode == TA && len(s.ImagePaths) > 0 {
		return fault.New("images_unused", "images", "mode TA uses no images; leave them out, or use mode TIA")
	}
	return nil
}

// Decode reads the voice track and the pictures of a spec.
func Decode(ctx context.Context, s *Spec) (*Material, error) {
	if err := s.checkImages(); err != nil {
		return nil, err
	}
	audio, err := media.OpenAudio(ctx, s.AudioPath)
	if err != nil {
		return nil, err
	}
	m := &Material{Audio: audio}
	if m.Wave, err = audio.Mono(ctx, MaxAudioSeconds); err != nil {
		return nil, err
	}
	for _, path := range s.ImagePaths {
		p, err := media.DecodeImage(ctx, path)
		if err != nil {
			return nil, err
		}
		m.AddPicture(p, s.Width, s.Height)
	}
	return m, nil
}
