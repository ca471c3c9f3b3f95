package inference

import (
	"context"
	"errors"
	"maps"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/wan"
)

// Transformer runs HuMo's DiT on one device.
type Transformer struct {
	site
	ix   *checkpoint.Index
	net  *wan.DiT
	int8 bool // a pass computes its linear layers in 8 bits; see Linear
}

// openTransformer reads the names of the checkpoint; weights stay in their files.
func openTransformer(s site, checkpointFile string) (*Transformer, []string, error) {
	ix, err := checkpoint.Open(checkpointFile)
	if err != nil {
		return nil, nil, err
	}
	return newTransformer(s, ix)
}

func newTransformer(s site, ix *checkpoint.Index) (*Transformer, []string, error) {
	net, unused, err := wan.LoadDiT(ix)
	if err != nil {
		return nil, nil, err
	}
	net.Compute = s.compute()
	return &Transformer{site: s, ix: ix, net: net}, unused, nil
}

// on is the same transformer on another device of the same type.
func (t *Transformer) on(d *device) *Transformer {
	other := *t
	other.device = d
	return &other
}

// Conditioned reports whether the model takes a mask and condition latents beside its latents (17B).
func (t *Transformer) Conditioned() bool { return t.net.Conditioned() }

// Keys are values by the names under which a pass reads them, on the transformer's device: above all the keys and values that all
// blocks attend of a text or of a voice track, which are the same in every pass of a clip.
type Keys map[string]*ort.Tensor

// Close frees them.
func (k Keys) Close() error { return ort.CloseAll(k) }

// TextKeys prepares a prompt for the blocks. The caller closes the result.
func (t *Transformer) TextKeys(ctx context.Context, text *TextEmbedding) (Keys, error) {
	padded := make([]float32, wan.ContextRows*int(t.net.TextDim()))
	copy(padded, text.Data)
	in, err := ort.FromFloat32s([]int64{wan.ContextRows, t.net.TextDim()}, padded)
	if err != nil {
		return nil, err
	}
	return t.once(ctx, t.net.TextKeysNetwork(), map[string]*ort.Tensor{"text": in}, true)
}

// AudioKeys prepares audio windows [frames, 8, 5, C] for the blocks. The caller closes the result.
func (t *Transformer) AudioKeys(ctx context.Context, windows []float32, frames int) (Keys, error) {
	in, err := ort.FromFloat32s([]int64{int64(frames), t.net.AudioFeatures()}, windows)
	if err != nil {
		return nil, err
	}
	return t.once(ctx, t.net.AudioKeysNetwork(int64(frames)), map[string]*ort.Tensor{"audio": in}, true)
}

// AudioTokens projects audio windows [frames, 8, 5, C] to the tokens [frames, 16, A] that AudioKeys makes keys and values
// of. It serves the golden tests.
func (t *Transformer) AudioTokens(ctx context.Context, windows []float32, frames int) (*ort.Tensor, error) {
	in, err := ort.FromFloat32s([]int64{int64(frames), t.net.AudioFeatures()}, windows)
	if err != nil {
		return nil, err
	}
	out, err := t.once(ctx, t.net.AudioNetwork(int64(frames)), map[string]*ort.Tensor{"audio": in}, false)
	return out["audio_tokens"], err
}

// Block runs block i alone: x is [tokens, D], e0 [6, D], context [rows, D] and audio [F, 16, A]. It serves the golden tests.
func (t *Transformer) Block(ctx context.Context, i int, size wan.Grid, x, e0, text, audio *ort.Tensor) (*ort.Tensor, error) {
	cos, sin, err := rotaryTensors(size)
	if err != nil {
		return nil, err
	}
	out, err := t.once(ctx, t.net.BlockNetwork(i, size, text.Shape()[0]), map[string]*ort.Tensor{"x": x, "e0": e0, "context": text,
		"audio_tokens": audio, "rope_cos": cos, "rope_sin": sin}, false)
	return out["x"], err
}

// once builds, runs and frees a network that is needed once per clip; its results may stay on the device.
func (t *Transformer) once(ctx context.Context, n *graph.Network, in map[string]*ort.Tensor, stay bool) (out map[string]*ort.Tensor, err error) {
	var o ort.ChainOptions
	if stay {
		o.Keep = n.Outputs
	}
	chain, err := t.chain(n, o)
	if err != nil {
		return nil, err
	}
	defer closing(chain, &err)
	return chain.Run(ctx, in, nil)
}

// Forward is the transformer at one size, ready to run. It may be used by one goroutine at a time.
type Forward struct {
	t                 *Transformer
	size              wan.Grid
	time, start, pass *ort.Chain // one after the other they are a forward pass
	rotary            Keys
}

// Prepare builds the graphs of one size and their sessions.
func (t *Transformer) Prepare(ctx context.Context, size wan.Grid) (f *Forward, err error) {
	f = &Forward{t: t, size: size, rotary: Keys{}}
	defer func() {
		if err != nil {
			f, err = nil, errors.Join(err, f.Close())
		}
	}()
	time, start, pass := t.net.TimeNetwork(), t.net.StartNetwork(size), t.net.PassNetwork(size)
	for _, part := range []struct {
		chain   **ort.Chain
		network *graph.Network
		options ort.ChainOptions
	}{
		{&f.time, time, ort.ChainOptions{Join: true, Keep: time.Outputs}}, // no layer of it allows 8 bits
		{&f.start, start, ort.ChainOptions{Join: true, Int8: t.int8, Keep: start.Outputs}},
		{&f.pass, pass, ort.ChainOptions{Join: true, Int8: t.int8}},
	} {
		if *part.chain, err = t.chain(part.network, part.options); err != nil {
			return f, err
		}
	}
	cos, sin, err := rotaryTensors(size)
	if err != nil {
		return f, err
	}
	for name, table := range map[string]*ort.Tensor{"rope_cos": cos, "rope_sin": sin} {
		if f.rotary[name], err = t.upload(ctx, table); err != nil {
			return f, err
		}
	}
	return f, nil
}

func rotaryTensors(size wan.Grid) (cos, sin *ort.Tensor, err error) {
	c, s := wan.RotaryTables(size)
	shape := []int64{size.Tokens(), wan.HeadDim / 2}
	if cos, err = ort.FromFloat32s(shape, c); err != nil {
		return nil, nil, err
	}
	sin, err = ort.FromFloat32s(shape, s)
	return cos, sin, err
}

// Step is a timestep on its way through its passes: what they have in common is computed once, and lies on the device.
type Step struct {
	f     *Forward
	time  Keys // of the timestep
	start Keys // of the latents
}

// Step embeds a timestep. The caller closes the result.
func (f *Forward) Step(ctx context.Context, timestep int64) (*Step, error) {
	dim := f.t.net.FrequencyDim()
	time, err := ort.FromFloat32s([]int64{1, dim}, wan.TimestepEmbedding(timestep, dim))
	if err != nil {
		return nil, err
	}
	s := &Step{f: f}
	s.time, err = f.time.Run(ctx, Keys{"time": time}, nil)
	return s, err
}

// Begin computes the part of a pass that depends on nothing but latents [in, F, h, w] and the timestep: all up to where the first
// block attends the text. The passes that follow are of these latents; those of earlier ones are freed.
func (s *Step) Begin(ctx context.Context, latents []float32) error {
	if err := s.start.Close(); err != nil {
		return err
	}
	x, err := ort.FromFloat32s([]int64{s.f.t.net.InChannels(), s.f.size.Frames, s.f.size.Height, s.f.size.Width}, latents)
	if err != nil {
		return err
	}
	s.start, err = s.f.start.Run(ctx, together(Keys{"latents": x}, s.time, s.f.rotary), nil)
	return err
}

// Pass predicts the velocity [16, F, h, w] of the latents that the last Begin was given, with the results of TextKeys and AudioKeys
// as conditions. Ending ctx stops it within one operator.
func (s *Step) Pass(ctx context.Context, text, audio Keys) ([]float32, error) {
	results, err := s.f.pass.Run(ctx, together(s.start, s.time, s.f.rotary, text, audio), nil)
	if err != nil {
		return nil, err
	}
	return ort.Float32s(results, "velocity")
}

// Close frees what the passes had in common.
func (s *Step) Close() error { return errors.Join(s.start.Close(), s.time.Close()) }

func together(parts ...Keys) Keys {
	all := Keys{}
	for _, k := range parts {
		maps.Copy(all, k)
	}
	return all
}

// Close frees the sessions.
func (f *Forward) Close() error {
	err := f.rotary.Close()
	for _, c := range []*ort.Chain{f.time, f.start, f.pass} {
		if c != nil {
			err = errors.Join(err, c.Close())
		}
	}
	return err
}
