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

// isolate returns what the audio encoder is to hear in place of in.Wave: the voices alone, at 16 kHz, as long as the wave.
// The published network takes 1.7 GB while it runs, which is given back at once: what comes next needs it.
func (v *separator) isolate(ctx context.Context, in *Material, progress func(done, total int)) (wave []float32, err error) {
	session, err := v.rt.NewSession(v.model, ort.SessionOptions{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, session.Close(), v.rt.FreshArena()) }()
	voices, err := vocals.Isolate(ctx, v.form, in.Stereo[0], in.Stereo[1], func(ctx context.Context, spectrum []float32) ([]float32, error) {
		return v.run(ctx, session, spectrum)
	}, progress)
	if err != nil {
		return nil, err
	}
	return media.Resample(ctx, voices, vocals.SampleRate, len(in.Wave))
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
