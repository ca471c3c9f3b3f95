package inference

import (
	"context"
	"math"
	"sync"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/whisper"
)

// AudioEncoder turns a voice into features per video frame.
type AudioEncoder struct {
	site
	net *whisper.Encoder
}

// AudioFeatures are Whisper's bands at the video's frame rate: Data is [Frames, 5, Dim].
type AudioFeatures struct {
	Frames, Dim int
	Data        []float32
}

// openAudioEncoder reads the names of the checkpoint; weights stay in their file.
func openAudioEncoder(s site, checkpointFile string, heads int) (*AudioEncoder, []string, error) {
	ix, err := checkpoint.Open(checkpointFile)
	if err != nil {
		return nil, nil, err
	}
	net, unused, err := whisper.LoadEncoder(ix, heads)
	if err != nil {
		return nil, nil, err
	}
	return &AudioEncoder{site: s, net: net}, unused, nil
}

// Encode maps a 16 kHz mono wave to features at fps. progress is called with the segments of 30 seconds that are done.
func (a *AudioEncoder) Encode(ctx context.Context, wave []float32, fps int,
	progress func(done, total int)) (*AudioFeatures, error) {
	return a.encode(ctx, wave, hearing(len(wave), fps, math.MaxInt32), progress)
}

// EncodeHeard gives the first frames of Encode, bit for bit: those that a clip of that many frames hears. Segments are
// independent of each other, so those that lie after them are not encoded.
func (a *AudioEncoder) EncodeHeard(ctx context.Context, wave []float32, fps, frames int,
	progress func(done, total int)) (*AudioFeatures, error) {
	return a.encode(ctx, wave, hearing(len(wave), fps, frames), progress)
}

// encode encodes a part of a voice track, of which wave needs to be no more than part.samples.
func (a *AudioEncoder) encode(ctx context.Context, wave []float32, part heardPart,
	progress func(done, total int)) (f *AudioFeatures, err error) {
	if part.frames < 1 {
		return nil, fault.New("audio_too_short", "audio", "the audio is shorter than one video frame; give 0.1 s or more")
	}
	var mel []float32
	var columns int
	var spectrogram sync.WaitGroup
	spectrogram.Go(func() { mel, columns = whisper.LogMel(wave[:part.samples]) }) // while ONNX Runtime reads the network
	chain, err := a.chain(a.net.Network(), ort.ChainOptions{})
	spectrogram.Wait()
	if err != nil {
		return nil, err
	}
	defer closing(chain, &err)
	var bands [whisper.Bands][]float32
	for s := range part.segments {
		progress(s, part.segments)
		if err := a.segment(ctx, chain, whisper.Segment(mel, columns, s), part.needed-s*whisper.SegmentRows, &bands); err != nil {
			return nil, err
		}
	}
	progress(part.segments, part.segments)
	dim := int(a.net.Dim())
	data, err := whisper.Merge(bands, dim, part.rows, part.frames, part.heard)
	return &AudioFeatures{part.heard, dim, data}, err
}

// heardPart is what of a voice track a clip hears.
type heardPart struct {
	rows, frames int // of the whole track: of the encoder, and merged at the video's rate
	heard        int // of the frames, the first ones
	needed       int // of the rows, for those
	segments     int // of the encoder's, for these
	samples      int // of those segments: nothing after them is heard
}

func hearing(samples, fps, clip int) heardPart {
	audioFrames := whisper.AudioFrames(samples)
	p := heardPart{rows: whisper.KeptRows(audioFrames), frames: whisper.MergedFrames(audioFrames, fps)}
	p.heard = whisper.HeardFrames(clip, p.frames)
	p.needed = whisper.HeardRows(p.rows, p.frames, p.heard)
	p.segments = (p.needed + whisper.SegmentRows - 1) / whisper.SegmentRows
	p.samples = min(samples, p.segments*whisper.SegmentSamples)
	return p
}

// hear encodes what a clip of that many frames hears of the sound, or of the voices in it alone. Progress counts the
// segments of both networks as one row.
func (m *Models) hear(ctx context.Context, s *Spec, in *Material, frames int, voices *separator,
	step func(done, total int)) (*AudioFeatures, error) {
	part := hearing(len(in.Wave), s.FPS, frames)
	if voices == nil {
		return m.Audio.encode(ctx, in.Wave, part, step)
	}
	before := 0
	wave, err := voices.isolate(ctx, part.samples, func(done, total int) {
		before = total
		step(done, total+part.segments)
	})
	if err != nil {
		return nil, err
	}
	return m.Audio.encode(ctx, wave, part, func(done, total int) { step(before+done, before+total) })
}

// segment encodes 30 seconds and appends their rows to the bands, as many as are needed.
func (a *AudioEncoder) segment(ctx context.Context, chain *ort.Chain, mel []float32, rows int, bands *[whisper.Bands][]float32) (err error) {
	in, err := ort.FromFloat32s([]int64{whisper.Mels, whisper.SegmentColumns}, mel)
	if err != nil {
		return err
	}
	results, err := chain.Run(ctx, map[string]*ort.Tensor{"mel": in}, nil)
	if err != nil {
		return err
	}
	for k := range bands {
		all := results[whisper.BandName(k)].Float32s()
		bands[k] = append(bands[k], all[:min(len(all), rows*int(a.net.Dim()))]...)
	}
	return ort.CloseAll(results)
}
