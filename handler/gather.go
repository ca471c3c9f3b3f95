package handler

import (
	"cmp"
	"context"
	"path/filepath"
	"strconv"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/media"
	"github.com/humo-worker/humo-worker/inference/whisper"
)

// gather copies the request's sources into dir, decodes each, and returns what the engine is to do. It goes on after a
// problem, so that the caller learns of all at once. What was decoded of a valid request is the spec's material: nothing is
// decoded again.
func (h *Handler) gather(ctx context.Context, r *Request, dir string, valid bool) (inference.Spec, Problems) {
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

	material := &inference.Material{}
	together(2, func() {
		for _, in := range inputs {
			if in.err == nil && in.path == spec.AudioPath {
				spec.Frames, in.err = hearAudio(ctx, r, in.path, material)
			}
		}
	}, func() { // one picture after the other: decoded it has up to 150 MB
		for _, in := range inputs {
			if in.err == nil && in.path != spec.AudioPath {
				in.err = seeImage(ctx, r, in.path, material, valid)
			}
		}
	})
	var problems Problems
	for _, in := range inputs {
		if in.err != nil {
			problems = append(problems, about(in.field, in.err))
		}
	}
	if valid && len(problems) == 0 {
		spec.Material = material
	}
	return spec, problems
}

// seeImage decodes a picture. It is kept if the request is valid: only then the clip's size is.
func seeImage(ctx context.Context, r *Request, path string, to *inference.Material, valid bool) error {
	picture, err := media.DecodeImage(ctx, path)
	if err == nil && valid {
		to.AddPicture(picture, r.Width, r.Height)
	}
	return err
}

// hearAudio decodes the audio and returns the number of video frames to ask for: with "auto" as many as it lasts.
func hearAudio(ctx context.Context, r *Request, path string, to *inference.Material) (frames int, err error) {
	if to.Audio, err = media.OpenAudio(ctx, path); err != nil {
		return 0, err
	}
	if to.Wave, err = to.Audio.Mono(ctx, inference.MaxAudioSeconds); err != nil {
		return 0, err
	}
	frames = whisper.MergedFrames(whisper.AudioFrames(len(to.Wave)), r.FPS)
	seconds := float64(len(to.Wave)) / media.SampleRate
	switch {
	case frames < 1:
		return 0, fault.New("audio_too_short", "audio", "lasts %.2f s, less than one frame at %d fps; send more, 0.1 s at least", seconds, r.FPS)
	case r.Frames == 0 && frames > MaxFrames:
		return 0, fault.New("audio_too_long", "audio", "lasts %.1f s, which is %d frames at %d fps; the limit is %d frames: cut it, or set frames to a number",
			seconds, frames, r.FPS, MaxFrames)
	}
	return cmp.Or(r.Frames, frames), nil
}

// about gives an error the field of the request that it is about, unless it is the worker's disk that fails.
func about(field string, err error) *fault.Error {
	problem := *ProblemsOf(err)[0]
	if problem.Code != codeTmp {
		problem.Field = field
	}
	return &problem
}
