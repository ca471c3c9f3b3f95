package handler

import (
	"context"
	"path/filepath"
	"strconv"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/media"
	"github.com/humo-worker/humo-worker/inference/whisper"
)

// gather copies the request's sources into dir, decodes each once to see that it can be, and returns what the engine
// is to do. It goes on after a problem, so that the caller learns of all at once.
func (h *Handler) gather(ctx context.Context, r *Request, dir string) (inference.Spec, Problems) {
	spec := inference.Spec{
		Variant: r.Variant, Mode: r.Mode, Prompt: r.Prompt, NegativePrompt: r.NegativePrompt,
		IsolateVocals: r.IsolateVocals,
		Frames:        r.Frames, Width: r.Width, Height: r.Height, FPS: r.FPS,
		Steps: r.Steps, Shift: r.Shift, Seed: r.Seed, StepChange: r.StepChange,
		Quality: r.Quality, LoRAs: r.LoRAs,
		ScaleT: r.Scales.Text, ScaleA: r.Scales.Audio, ScaleI: r.Scales.Image,
		CRF: r.Output.CRF, OutputPath: filepath.Join(dir, "video.mp4"),
	}
	var inputs []*input
	if r.Audio.kind != noSource {
		spec.AudioPath = filepath.Join(dir, "audio")
		inputs = append(inputs, &input{field: "audio", source: r.Audio, path: spec.AudioPath, limit: MaxAudioBytes})
	}
	for i, image := range r.Images {
		if image.kind == noSource {
			continue
		}
		path := filepath.Join(dir, "image-"+strconv.Itoa(i))
		spec.ImagePaths = append(spec.ImagePaths, path)
		inputs = append(inputs, &input{field: "images[" + strconv.Itoa(i) + "]", source: image, path: path, limit: MaxImageBytes})
	}
	h.collect(ctx, inputs)

	// One after the other: a decoded picture has up to 150 MB.
	var problems Problems
	for _, in := range inputs {
		switch {
		case in.err != nil:
		case in.path == spec.AudioPath:
			var frames int
			frames, in.err = audioFrames(ctx, r, in.path)
			if r.Frames == 0 {
				spec.Frames = frames
			}
		default:
			_, in.err = media.DecodeImage(in.path)
		}
		if in.err != nil {
			problems = append(problems, about(in.field, in.err))
		}
	}
	return spec, problems
}

// audioFrames returns the number of video frames that the audio lasts.
func audioFrames(ctx context.Context, r *Request, path string) (int, error) {
	wave, err := media.DecodeAudio(ctx, path, 0)
	if err != nil {
		return 0, err
	}
	frames := whisper.MergedFrames(whisper.AudioFrames(len(wave)), r.FPS)
	seconds := float64(len(wave)) / media.SampleRate
	switch {
	case frames < 1:
		return 0, fault.New("audio_too_short", "audio", "lasts %.2f s, less than one frame at %d fps; send more, 0.1 s at least", seconds, r.FPS)
	case r.Frames == 0 && frames > MaxFrames:
		return 0, fault.New("audio_too_long", "audio", "lasts %.1f s, which is %d frames at %d fps; the limit is %d frames: cut it, or set frames to a number",
			seconds, frames, r.FPS, MaxFrames)
	}
	return frames, nil
}

// about gives an error the field of the request that it is about.
func about(field string, err error) *fault.Error {
	problem := *ProblemsOf(err)[0]
	problem.Field = field
	return &problem
}
