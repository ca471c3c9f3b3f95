package inference

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/media"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/vocals"
)

// separator takes the voices out of a recording.
type separator struct {
	rt    *ort.Runtime
	file  string
	model *graph.Model
	form  vocals.Form

	left, right []float32 // the recording at 44.1 kHz, as far as isolate looks at it
}

// separate makes ready what takes the voices out of the first samples that a clip hears; nil if nothing is to.
func (e *Engine) separate(ctx context.Context, s *Spec, audio *media.Audio, heard int) (*separator, error) {
	if !s.IsolateVocals {
		return nil, nil
	}
	v, err := e.openSeparator(s.Variant)
	if err != nil {
		return nil, err
	}
	if audio == nil {
		if audio, err = media.OpenAudio(ctx, s.AudioPath); err != nil {
			return nil, err
		}
	}
	return v, v.listen(ctx, audio, heard)
}

// openSeparator finds and checks the file, so that a job that cannot be done ends before a network runs.
func (e *Engine) openSeparator(v Variant) (*separator, error) {
	file, err := e.layout.Separator(string(v))
	if err != nil {
		return nil, err
	}
	m, err := ort.LoadModel(file)
	if err != nil {
		return nil, err
	}
	wrong := fault.New("wrong_shape", file, "this is not Kim_Vocal_2, which has one float32 input and output [1, %d, 3072, 256]; fetch it again", vocals.Channels)
	if len(m.Inputs) != 1 || len(m.Outputs) != 1 {
		return nil, wrong
	}
	in, out := m.Inputs[0], m.Outputs[0]
	form, known := vocals.FormOf(in.Shape)
	if !known || !slices.Equal(in.Shape, out.Shape) || in.DType != checkpoint.F32 || out.DType != checkpoint.F32 {
		return nil, wrong
	}
	return &separator{rt: e.rt, file: file, model: m, form: form}, nil
}

// settling is how many samples before the end of a wave the resampler knows that it ends: a generous second.
const settling = vocals.SampleRate

// reach is how many samples at 44.1 kHz the first heard at 16 kHz depend on, and how many of their voices.
func (v *separator) reach(heard int) (recording, voices int) {
	voices = (heard*vocals.SampleRate+media.SampleRate-1)/media.SampleRate + settling
	return v.form.Needed(voices), voices
}

// listen decodes the recording as far as its first samples at 16 kHz depend on it.
func (v *separator) listen(ctx context.Context, audio *media.Audio, heard int) (err error) {
	recording, _ := v.reach(heard)
	v.left, v.right, err = audio.Stereo(ctx, recording)
	return err
}

// isolate returns what the audio encoder is to hear in place of the first samples of the sound: the voices in them alone,
// at 16 kHz. They are the beginning of those of the whole recording, bit for bit. The published network takes 1.7 GB while
// it runs, which is given back at once: what comes next needs it.
func (v *separator) isolate(ctx context.Context, heard int, progress func(done, total int)) (wave []float32, err error) {
	session, err := v.rt.NewSession(v.model, ort.SessionOptions{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, session.Close(), v.rt.FreshArena()) }()
	_, needed := v.reach(heard)
	voices, err := vocals.Isolate(ctx, v.form, v.left, v.right, needed, func(ctx context.Context, spectrum []float32) ([]float32, error) {
		return v.run(ctx, session, spectrum)
	}, progress)
	v.left, v.right = nil, nil
	if err != nil {
		return nil, err
	}
	return media.Resample(ctx, voices, vocals.SampleRate, heard)
}

func (v *separator) run(ctx context.Context, session *ort.Session, spectrum []float32) ([]float32, error) {
	in, err := ort.FromFloat32s(v.model.Inputs[0].Shape, spectrum)
	if err != nil {
		return nil, err
	}
	results, err := session.Run(ctx, map[string]*ort.Tensor{v.model.Inputs[0].Name: in})
	if err != nil {
		return nil, err
	}
	out, err := ort.Float32s(results, v.model.Outputs[0].Name)
	if err != nil {
		return nil, err
	}
	for _, x := range out {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return nil, fault.New("bad_weights", v.file, "the separator leaves values that are no numbers; fetch its file again")
		}
	}
	return out, nil
}
