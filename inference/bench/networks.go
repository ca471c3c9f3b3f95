package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/umt5"
	"github.com/humo-worker/humo-worker/inference/wan"
	"github.com/humo-worker/humo-worker/inference/whisper"
)

// dit times a pass of the transformer. Keys and values of text and audio are made before: a clip needs them once.
func (b *bench) dit(ctx context.Context) (err error) {
	ix, err := checkpoint.Open(b.models.Files.DiT)
	if err != nil {
		return err
	}
	net, _, err := wan.LoadDiT(ix)
	if err != nil {
		return err
	}
	t, grid := b.models.Transformer, b.Size.grid()
	prompt := &inference.TextEmbedding{Rows: wan.ContextRows, Dim: int(net.TextDim()), Data: normal(wan.ContextRows * net.TextDim())}
	text, err := t.TextKeys(ctx, prompt)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, text.Close()) }()
	audio, err := t.AudioKeys(ctx, normal(grid.Frames*net.AudioFeatures()), int(grid.Frames))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, audio.Close()) }()
	name := "DiT pass"
	if b.Int8 {
		name, t = "DiT pass, 8-bit", t.In(inference.Linear{DType: inference.INT8})
	}
	f, err := t.Prepare(ctx, grid)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	latents := normal(net.InChannels() * grid.Frames * grid.Height * grid.Width)
	_, err = b.time(ctx, task{name: name, flop: t.Shape().PassFLOP(b.Size.Tokens()), blocks: true,
		run: func(ctx context.Context) error {
			step, err := f.Step(ctx, 500)
			if err != nil {
				return err
			}
			if err = step.Begin(ctx, latents); err == nil {
				_, err = step.Pass(ctx, text, audio)
			}
			return errors.Join(err, step.Close())
		},
		torch: b.torchDiT(net),
	})
	if err == nil && b.Parts {
		err = b.parts(ctx)
	}
	return err
}

func (b *bench) torchDiT(net *wan.DiT) torchDiT {
	s := b.models.Transformer.Shape()
	return torchDiT{"dit", s.Width, s.FFN, s.Layers, net.InChannels(), b.Size.grid()}
}

// vae times the decoding of a clip.
func (b *bench) vae(ctx context.Context) error {
	ix, err := checkpoint.Open(b.models.Files.VAE)
	if err != nil {
		return err
	}
	z := inference.NewLatent(wan.LatentFrames(b.Size.Frames), b.Size.Height/wan.SpatialStride, b.Size.Width/wan.SpatialStride)
	copy(z.Data, normal(int64(len(z.Data))))
	torch, err := b.torchVAE(ix)
	if err != nil {
		return err
	}
	_, err = b.time(ctx, task{name: "VAE decode", flop: decodeFLOP(ix, z.Frames, z.Height, z.Width),
		run: func(ctx context.Context) error {
			return b.models.VAE.Decode(ctx, z, func([]byte) error { return nil }, nil)
		},
		torch: torch,
	})
	return err
}

func (b *bench) torchVAE(ix *checkpoint.Index) (t torchVAE, err error) {
	width := ix.Lookup("decoder.head.2.weight")
	if width == nil {
		return t, fault.New("missing_tensors", ix.Path, "holds no decoder.head.2.weight; this is not the Wan VAE")
	}
	return torchVAE{"vae", width.Shape[1], wan.LatentFrames(b.Size.Frames), b.Size.Height / wan.SpatialStride,
		b.Size.Width / wan.SpatialStride}, nil
}

// text times the encoding of the longest text there is.
func (b *bench) text(ctx context.Context) error {
	net, err := b.textNetwork()
	if err != nil {
		return err
	}
	ids := make([]int32, wan.ContextRows)
	for i := range ids {
		ids[i] = int32(int64(i) % net.Vocabulary())
	}
	b.report.Size = "512 tokens"
	_, err = b.time(ctx, task{name: "text encoder", flop: textFLOP(net, len(ids)), blocks: true,
		run: func(ctx context.Context) error {
			_, err := b.models.Text.EncodeIDs(ctx, ids)
			return err
		}, torch: torchOfText(net, len(ids))})
	return err
}

func (b *bench) textNetwork() (*umt5.Encoder, error) {
	ix, err := checkpoint.Open(b.models.Files.UMT5)
	if err != nil {
		return nil, err
	}
	net, _, err := umt5.LoadEncoder(ix)
	return net, err
}

func torchOfText(net *umt5.Encoder, tokens int) torchText {
	first := net.Blocks[0]
	return torchText{"text", net.Dim(), first.Attn.Q.Weight.Shape[0], first.FC1.Weight.Shape[0], first.Position.Weight.Shape[1],
		first.Position.Weight.Shape[0], len(net.Blocks), net.Vocabulary(), tokens}
}

// audio times the encoding of as much sound as the clip has frames; Whisper hears 30 seconds at a time.
func (b *bench) audio(ctx context.Context) error {
	net, torch, err := b.audioNetwork()
	if err != nil {
		return err
	}
	wave := tone(float64(b.Size.Frames) / fps)
	b.report.Size = fromRate(len(wave))
	_, err = b.time(ctx, task{name: "audio encoder", flop: audioFLOP(net, torch.Segments), torch: torch,
		run: func(ctx context.Context) error {
			_, err := b.models.Audio.Encode(ctx, wave, fps, func(int, int) {})
			return err
		}})
	return err
}

func (b *bench) audioNetwork() (net *whisper.Encoder, t torchAudio, err error) {
	ix, err := checkpoint.Open(b.models.Files.Whisper)
	if err != nil {
		return nil, t, err
	}
	heads, err := b.models.Files.WhisperHeads()
	if err != nil {
		return nil, t, err
	}
	if net, _, err = whisper.LoadEncoder(ix, heads); err != nil {
		return nil, t, err
	}
	segments := (len(tone(float64(b.Size.Frames)/fps)) + whisper.SegmentSamples - 1) / whisper.SegmentSamples
	return net, torchAudio{"audio", net.Dim(), net.Layers[0].FC1.Weight.Shape[0], heads, len(net.Layers), net.Positions(),
		net.Conv1.Weight.Shape[1], segments}, nil
}

// e2e times a clip of one denoising step, which has three passes, from a sound file to an mp4. Its stages are results of
// their own.
func (b *bench) e2e(ctx context.Context) (err error) {
	folder, err := os.MkdirTemp("", "humo-bench-clip-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	s := inference.Spec{Variant: b.Size.Variant, Mode: inference.TA, AudioPath: filepath.Join(folder, "voice.wav"),
		Frames: b.Size.Frames, Width: b.Size.Width, Height: b.Size.Height, FPS: fps, Steps: 1, Shift: 5, Seed: 1, ScaleT: 5, ScaleA: 5,
		CRF: 18, OutputPath: filepath.Join(folder, "clip.mp4")}
	if err := os.WriteFile(s.AudioPath, wav(tone(float64(b.Size.Frames)/fps)), 0o600); err != nil {
		return err
	}
	stages := map[inference.Stage][]float64{}
	var outside, shares []float64
	run := 0
	torch, err := b.torchClip()
	if err != nil {
		return err
	}
	_, err = b.time(ctx, task{name: "clip of 1 step", torch: torch, run: func(ctx context.Context) error {
		run++ // a prompt that was seen before would be remembered
		s.Prompt, s.NegativePrompt = fmt.Sprintf("a person speaks %d", run), fmt.Sprintf("blurred %d", run)
		clip, err := b.engine.Generate(ctx, s, func(inference.Progress) {})
		if err != nil {
			return err
		}
		for stage, seconds := range clip.Timings {
			stages[stage] = append(stages[stage], seconds)
		}
		seconds, share := clip.Outside()
		outside, shares = append(outside, seconds), append(shares, share)
		return nil
	}})
	for _, stage := range []inference.Stage{inference.StageText, inference.StageAudio, inference.StageImage, inference.StageDenoise,
		inference.StageDecode, inference.StageEncode} {
		if runs := stages[stage]; len(runs) > 1 { // the first is the warm-up
			b.report.Results = append(b.report.Results, Result{Name: "  " + string(stage), Seconds: spreadOf(runs[1:])})
		}
	}
	if len(outside) > 1 {
		b.report.Results = append(b.report.Results, Result{Name: "  outside Run", Seconds: spreadOf(outside[1:]),
			PartOfClip: spreadOf(shares[1:]).Median})
	}
	return err
}

// shortPrompt is about how many tokens the prompts of a measured clip have.
const shortPrompt = 8

// torchClip is a clip's networks together: two prompts, the voice, three passes of a step in mode TA, the frames.
func (b *bench) torchClip() (t torchClip, err error) {
	text, err := b.textNetwork()
	if err != nil {
		return t, err
	}
	t = torchClip{Task: "e2e", Passes: 3, Text: torchOfText(text, shortPrompt)}
	if _, t.Audio, err = b.audioNetwork(); err != nil {
		return t, err
	}
	ix, err := checkpoint.Open(b.models.Files.DiT)
	if err != nil {
		return t, err
	}
	net, _, err := wan.LoadDiT(ix)
	if err != nil {
		return t, err
	}
	t.DiT = b.torchDiT(net)
	if ix, err = checkpoint.Open(b.models.Files.VAE); err == nil {
		t.VAE, err = b.torchVAE(ix)
	}
	return t, err
}

const (
	fps        = 25
	sampleRate = 16000
)

// tone is a sound of some seconds.
func tone(seconds float64) []float32 {
	wave := make([]float32, int(seconds*sampleRate))
	for i := range wave {
		wave[i] = float32(math.Sin(float64(i)/20) / 4)
	}
	return wave
}

// normal draws numbers as latents and embeddings have them.
func normal(n int64) []float32 {
	random := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // any numbers do
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(random.NormFloat64())
	}
	return x
}
