package parity

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/golden"
	"github.com/humo-worker/humo-worker/inference/media"
	"github.com/humo-worker/humo-worker/inference/wan"
	"github.com/humo-worker/humo-worker/inference/whisper"
)

// audioConfig is the config of the cases that start from sound.
type audioConfig struct {
	Wav       string
	FrameNums []int `json:"frame_nums"`

	Samples int    // instead of Wav: a wave that an integer formula gives
	SHA256  string // of its int16 samples, little endian
}

// audioCase goes from sound to windows.
func audioCase(ctx context.Context, e *inference.Engine, c *golden.Case) (outputs, error) {
	var config audioConfig
	if err := c.Config(&config); err != nil {
		return nil, err
	}
	wave, err := config.wave(ctx, c)
	if err != nil {
		return nil, err
	}
	m, err := e.Models(inference.Variant1B)
	if err != nil {
		return nil, err
	}
	out := outputs{}
	if _, ok := c.Index.Tensors["out.waveform16k"]; ok {
		out["out.waveform16k"] = golden.Floats(wave, int64(len(wave)))
	}
	if err := melColumns(c, wave, out); err != nil {
		return nil, err
	}
	features, err := m.Audio.Encode(ctx, wave, whisper.DefaultFPS, func(int, int) {})
	if err != nil {
		return nil, err
	}
	out["out.audio_len"] = golden.Ints(whisper.AudioFrames(len(wave)))
	out["out.merged_T"] = golden.Ints(features.Frames)
	if err := mergedRows(c, features, out); err != nil {
		return nil, err
	}
	for _, n := range config.FrameNums {
		windows, next := whisper.Windows(features.Data, whisper.Bands*features.Dim, n, 0)
		name := fmt.Sprintf("out.windows_%d", n)
		out[name+"_next"] = golden.Ints(next)
		if _, ok := c.Index.Tensors[name]; ok {
			out[name] = golden.Floats(windows, int64(whisper.LatentFrames(n)), whisper.WindowFrames, whisper.Bands, int64(features.Dim))
		}
	}
	return out, nil
}

func (a *audioConfig) wave(ctx context.Context, c *golden.Case) ([]float32, error) {
	if a.Wav != "" {
		return media.DecodeAudio(ctx, c.Path(a.Wav), inference.MaxAudioSeconds)
	}
	samples := make([]int16, a.Samples)
	pcm := make([]byte, 0, 2*len(samples))
	wave := make([]float32, len(samples))
	for k := range samples {
		samples[k] = formula(int64(k))
		pcm = binary.LittleEndian.AppendUint16(pcm, uint16(samples[k]))
		wave[k] = float32(samples[k]) / 32768
	}
	if sum := sha256.Sum256(pcm); hex.EncodeToString(sum[:]) != a.SHA256 {
		return nil, fmt.Errorf("the wave that the formula gives has another SHA-256 than the case states")
	}
	return wave, nil
}

// formula is the integer formula that the case's config.formula spells.
func formula(k int64) int16 {
	a := ((k*k)/4096+3*k)%4001 - 2000
	b := (((k*1103515245+12345)%(1<<31))>>16 - 16384)
	e, g := ((k/1600)*37)%101, ((k/3200)*53)%29
	return int16((a*e + b*g) >> 6)
}

// melColumns compares the columns of the spectrogram that the case stores.
func melColumns(c *golden.Case, wave []float32, out outputs) error {
	columns, err := c.Ints("mid.mel_columns")
	if err != nil {
		return err
	}
	mel, width := whisper.LogMel(wave)
	picked := make([]float32, 0, whisper.Mels*len(columns))
	for m := range whisper.Mels {
		for _, k := range columns {
			picked = append(picked, mel[m*width+k])
		}
	}
	out["out.mel"] = golden.Floats(picked, whisper.Mels, int64(len(columns)))
	return nil
}

// mergedRows compares all rows of the merged features, or those that the case stores.
func mergedRows(c *golden.Case, f *inference.AudioFeatures, out outputs) error {
	row := whisper.Bands * f.Dim
	data, n := f.Data, f.Frames
	if _, ok := c.Index.Tensors["mid.merged_rows"]; ok {
		rows, err := c.Ints("mid.merged_rows")
		if err != nil {
			return err
		}
		data, n = nil, len(rows)
		for _, r := range rows {
			data = append(data, f.Data[r*row:(r+1)*row]...)
		}
	}
	out["out.merged"] = golden.Floats(data, int64(n), whisper.Bands, int64(f.Dim))
	return nil
}

// windowsCase applies the window rule to the ramp 1, 2, 3, … of one value a frame.
func windowsCase(_ context.Context, _ *inference.Engine, c *golden.Case) (outputs, error) {
	var config struct {
		Runs [][2]int `json:"T_frames"`
	}
	if err := c.Config(&config); err != nil {
		return nil, err
	}
	out := outputs{}
	for _, run := range config.Runs {
		ramp := make([]float32, run[0])
		for i := range ramp {
			ramp[i] = float32(i + 1)
		}
		windows, _ := whisper.Windows(ramp, 1, run[1], 0)
		out[fmt.Sprintf("out.T%d_F%d", run[0], run[1])] = golden.Floats(windows, int64(whisper.LatentFrames(run[1])), whisper.WindowFrames)
	}
	return out, nil
}

// audioProjectorCase maps windows to the tokens that the blocks attend.
func audioProjectorCase(ctx context.Context, e *inference.Engine, c *golden.Case) (outputs, error) {
	m, err := models(c, e)
	if err != nil {
		return nil, err
	}
	windows, shape, err := c.Floats("in.audio")
	if err != nil {
		return nil, err
	}
	if len(shape) != 5 {
		return nil, fmt.Errorf("in.audio has the shape %v, want [1, F, 8, 5, C]", shape)
	}
	tokens, err := m.Transformer.AudioTokens(ctx, windows, int(shape[1]))
	if err != nil {
		return nil, err
	}
	return outputs{"out.tokens": golden.Floats(take(tokens), 1, shape[1], wan.AudioTokens, tokens.Shape()[2])}, tokens.Close()
}
