package inference

import (
	"context"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/whisper"
)

// AudioEncoder turns a voice into features per video frame.
type AudioEncoder struct {
	rt        *ort.Runtime
	net       *whisper.Encoder
	decompose bool
}

// AudioFeatures are Whisper's bands at the video's frame rate: Data is [Frames, 5, Dim].
type AudioFeatures struct {
	Frames, Dim int
	Data        []float32
}

// OpenAudioEncoder reads the names of the checkpoint; weights stay in their file.
func OpenAudioEncoder(rt *ort.Runtime, checkpointFile string, heads int) (*AudioEncoder, []string, error) {
	ix, err := checkpoint.Open(checkpointFile)
	if err != nil {
		return nil, nil, err
	}
	net, unused, err := whisper.LoadEncoder(ix, heads)
	if err != nil {
		return nil, nil, err
	}
	return &AudioEncoder{rt: rt, net: net}, unused, nil
}

// Encode maps a 16 kHz mono wave to features at fps. progress is called with the segments of 30 seconds that are done.
func (a *AudioEncoder) Encode(ctx context.Context, wave []float32, fps int, progress func(done, total int)) (f *AudioFeatures, err error) {
	audioFrames := whisper.AudioFrames(len(wave))
	frames := whisper.MergedFrames(audioFrames, fps)
	if frames < 1 {
		return nil, fault.New("audio_too_short", "audio", "the audio is shorter than one video frame; give 0.1 s or more")
	}
	chain, err := a.rt.NewChain(a.net.Network(), ort.ChainOptions{Decompose: a.decompose})
	if err != nil {
		return nil, err
	}
	defer closing(chain, &err)
	mel, columns := whisper.LogMel(wave)
	segments := columns / whisper.SegmentColumns
	var bands [whisper.Bands][]float32
	for s := range segments {
		progress(s, segments)
		if err := a.segment(ctx, chain, whisper.Segment(mel, columns, s), &bands); err != nil {
			return nil, err
		}
	}
	progress(segments, segments)
	dim := int(a.net.Dim())
	data, err := whisper.Merge(bands, dim, whisper.KeptRows(audioFrames), frames)
	return &AudioFeatures{frames, dim, data}, err
}

// hear encodes the sound, or the voices in it alone. Progress counts the segments of both networks as one row.
func (m *Models) hear(ctx context.Context, s *Spec, in *Material, voices *separator, step func(done, total int)) (*AudioFeatures, error) {
	if voices == nil {
		return m.Audio.Encode(ctx, in.Wave, s.FPS, step)
	}
	before, after := 0, (len(in.Wave)+whisper.SegmentSamples-1)/whisper.SegmentSamples
	wave, err := voices.isolate(ctx, in, func(done, total int) {
		before = total
		step(done, total+after)
	})
	if err != nil {
		return nil, err
	}
	return m.Audio.Encode(ctx, wave, s.FPS, func(done, total int) { step(before+done, before+total) })
}

// segment encodes 30 seconds and appends their rows to the bands.
func (a *AudioEncoder) segment(ctx context.Context, chain *ort.Chain, mel []float32, bands *[whisper.Bands][]float32) (err error) {
	in, err := ort.FromFloat32s([]int64{whisper.Mels, whisper.SegmentColumns}, mel)
	if err != nil {
		return err
	}
	results, err := chain.Run(ctx, map[string]*ort.Tensor{"mel": in}, nil)
	if err != nil {
		return err
	}
	for k := range bands {
		bands[k] = append(bands[k], results[whisper.BandName(k)].Float32s()...)
	}
	return ort.CloseAll(results)
}
