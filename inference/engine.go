package inference

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/gpu"
	"github.com/humo-worker/humo-worker/inference/lora"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/plan"
	"github.com/humo-worker/humo-worker/inference/sampler"
	"github.com/humo-worker/humo-worker/inference/textcache"
	"github.com/humo-worker/humo-worker/inference/umt5"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// Config is the engine's settings, room by room.
type Config struct {
	Weights weights.Config
	LoRA    lora.Config
	ORT     ort.Config
	Cache   textcache.Config
	Device  DeviceConfig

	// Preload is what Prepare does besides opening the networks: none, or auto, which also reads the weights' pages
	// ahead, in the background and as far as memory has room for them. Empty: auto for RunPod's queue, else none.
	Preload Preload `env:"HUMO_PRELOAD"`
}

// Validate checks every room's settings; faults name the variable.
func (c Config) Validate() error {
	return errors.Join(c.Weights.Validate(), c.LoRA.Validate(), c.ORT.Validate(), c.Cache.Validate(), c.Device.Validate(), c.Preload.Validate())
}

// Engine makes clips. Models are opened on first need; opening reads names and sizes, weights stay in their files.
type Engine struct {
	rt        *ort.Runtime
	layout    weights.Layout
	log       zerolog.Logger
	decompose bool
	packed    string // format of the packed transformer to use; empty: none

	devices []*device     // that compute; the first runs all networks, the others passes of the transformer
	cpu     *device       // the CPU in float32, for what does not run on them; it may be the first of them
	turn    chan struct{} // of the clip that has the devices for itself

	// Tests pretend another machine: less memory than the devices tell, or the plan of one; and other guidance. nil: the true ones.
	available func() (bytes int64, ok bool)
	layOut    func(plan.Model, plan.Job, plan.Device) (*plan.Plan, error)
	guide     func(*sampler.Plan) // changes a clip's guidance; nil: as it is
	int8Exact func() bool         // in the place of ort.Int8Exact
	noInt8    bool                // Measure's

	mu     sync.Mutex
	models map[Variant]*Models

	speed  speedometer // of clips in float32 or, on cards, 16 bits
	speed8 speedometer // of those in INT8
	prints fingerprints
	loras  loraFiles
	texts  *textcache.Cache
	host   string // what computes texts: part of an embedding's identity
	ahead  preloader
}

// Models are the networks that one variant needs.
type Models struct {
	Files       *weights.Files
	Text        *TextEncoder
	Audio       *AudioEncoder
	VAE         *VAE
	Transformer *Transformer
}

// Open loads ONNX Runtime. The weights folder is looked at when the first clip is made.
func Open(cfg Config, log zerolog.Logger) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	rt, err := ort.Open(cfg.ORT, log)
	if err != nil {
		return nil, err
	}
	e := &Engine{rt: rt, layout: weights.Locate(cfg.Weights.Dir()), log: log, packed: cfg.Weights.PackedFormat(), models: map[Variant]*Models{},
		texts: textcache.Open(cfg.Cache, log), turn: make(chan struct{}, 1),
		ahead: preloader{on: cfg.Preload == PreloadAuto}, loras: loraFiles{folder: cfg.LoRA.Folder(cfg.Weights.Dir())}}
	if e.devices, err = openDevices(cfg.Device, gpu.Find, rt, log); err != nil {
		return nil, errors.Join(err, rt.Close())
	}
	if e.cpu = e.devices[0]; !e.cpu.mapped {
		e.cpu = cpu(checkpoint.F32)
	}
	e.host = fmt.Sprintf("%s %+v %s %d", rt.Version(), Host(), e.site(plan.Text), cfg.ORT.Threads)
	return e, nil
}

// Decompose makes networks that are opened from now on use the decomposed twins of fused operators: the oracle that
// tests compare with.
func (e *Engine) Decompose() { e.decompose = true }

// Close ends the reading ahead, frees what the devices hold and unloads ONNX Runtime.
func (e *Engine) Close() error {
	e.ahead.close()
	return errors.Join(closeDevices(e.devices), e.rt.Close())
}

// Models opens the networks of a variant, but the text encoder, which is opened on its first use. It fails with one fault
// that lists all missing files, or with one per checkpoint that lists all missing tensors.
func (e *Engine) Models(v Variant) (*Models, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if m := e.models[v]; m != nil {
		return m, nil
	}
	files, err := e.layout.Require(string(v))
	if err != nil {
		return nil, err
	}
	e.preferPacked(files)
	m := &Models{Files: files, Text: e.text(files)}
	var errs [3]error
	m.Audio, errs[0] = e.openAudio(files)
	m.VAE, errs[1] = e.openVAE(files)
	m.Transformer, errs[2] = e.openTransformer(v, files)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	e.models[v] = m
	return m, nil
}

func (e *Engine) text(f *weights.Files) *TextEncoder {
	where := e.site(plan.Text)
	return &TextEncoder{
		cache: e.texts,
		open: func() (*textNetwork, error) {
			t, unused, err := openTextNetwork(where, f.UMT5, f.Tokenizer)
			if err != nil {
				return nil, err
			}
			e.note(f.UMT5, unused)
			return t, nil
		},
		// The host is part of it because other kernels round otherwise: what is remembered equals what would be computed.
		identity: func() (string, error) {
			encoder, err := e.prints.of(f.UMT5)
			if err != nil {
				return "", err
			}
			tokenizer, err := e.prints.of(f.Tokenizer)
			return fmt.Sprintf("%s %s %t %s", encoder.Fingerprint, tokenizer.Fingerprint, where.decompose, e.host), err
		},
	}
}

func (e *Engine) openAudio(f *weights.Files) (*AudioEncoder, error) {
	heads, err := f.WhisperHeads()
	if err != nil {
		return nil, err
	}
	a, unused, err := openAudioEncoder(e.site(plan.Audio), f.Whisper, heads)
	if err != nil {
		return nil, err
	}
	e.note(f.Whisper, unused)
	return a, nil
}

func (e *Engine) openVAE(f *weights.Files) (*VAE, error) {
	ix, err := checkpoint.Open(f.VAE)
	if err != nil {
		return nil, err
	}
	v, unused, err := newVAE(e.site(plan.VAE), ix)
	if err != nil {
		return nil, err
	}
	e.note(f.VAE, unused)
	return v, nil
}

func (e *Engine) openTransformer(v Variant, f *weights.Files) (*Transformer, error) {
	t, unused, err := openTransformer(e.site(plan.DiT), f.DiT)
	if err != nil {
		return nil, err
	}
	e.note(f.DiT, unused)
	if t.Conditioned() != (v == Variant17B) {
		return nil, fault.New("wrong_shape", f.DiT, "this is not the %s variant: its patch embedding takes %d channels", v, t.net.InChannels())
	}
	return t, nil
}

// note says in one line which tensors of a file no network asked for.
func (e *Engine) note(file string, unused []string) {
	e.ahead.skip(file, unused)
	if len(unused) > 0 {
		e.log.Info().Str("file", file).Int("count", len(unused)).Strs("tensors", unused[:min(len(unused), 20)]).Msg("the checkpoint holds tensors that are not used")
	}
}

// embedPrompts encodes the prompt and, where the guidance uses it, the negative prompt.
func (m *Models) embedPrompts(ctx context.Context, s *Spec, guidance *sampler.Plan,
	step func(done, total int)) (prompt, negative *TextEmbedding, err error) {
	total := 1
	if guidance.Uses(sampler.Negative) {
		total = 2
	}
	step(0, total)
	if prompt, err = m.Text.Encode(ctx, "prompt", s.Prompt); err != nil {
		return nil, nil, err
	}
	step(1, total)
	if total == 1 {
		return prompt, nil, nil
	}
	text := s.NegativePrompt
	if text == "" {
		text = umt5.DefaultNegativePrompt
	}
	if negative, err = m.Text.Encode(ctx, "negative_prompt", text); err != nil {
		return nil, nil, err
	}
	step(2, total)
	return prompt, negative, nil
}
