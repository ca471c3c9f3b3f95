package media

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strconv"
)

// Resample brings a mono wave from rate to SampleRate through the filter that DecodeAudio uses. The result has exactly
// length samples (DecodeAudio's count for the same sound), from which the resampler's own count differs by a few at most.
// Faults: ffmpeg_missing, ffmpeg_unusable, media_limit, media_stuck, media_killed.
func Resample(parent context.Context, wave []float32, rate, length int) ([]float32, error) {
	ctx, stop := context.WithCancel(parent)
	defer stop()
	t, err := newTool(ctx, "ffmpeg", piping(), "-hide_banner", "-loglevel", "error",
		"-f", "f32le", "-ar", strconv.Itoa(rate), "-i", "pipe:0", "-af", resample(SampleRate), "-f", "f32le", "pipe:1")
	if err != nil {
		return nil, err
	}
	defer t.Close()
	t.Stdin = &floatReader{wave: wave}
	stdout, err := t.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := t.start(ctx); err != nil {
		return nil, err
	}
	samples, readErr := readFloats(t.lively(stdout), len(wave)*SampleRate/rate+SampleRate)
	if readErr != nil {
		stop()
	}
	waitErr := t.Wait()
	switch {
	case parent.Err() != nil:
		return nil, interrupted(parent, "resample audio")
	case waitErr != nil:
		if err := t.unheard(waitErr); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("resample audio: %w", waitErr)
	case readErr != nil:
		return nil, fmt.Errorf("resample audio: %w", readErr)
	}
	if missing := length - len(samples); missing > 0 {
		return append(samples, make([]float32, missing)...), nil
	}
	return samples[:length], nil
}

// floatReader reads a wave as little-endian bytes.
type floatReader struct{ wave []float32 }

func (r *floatReader) Read(p []byte) (int, error) {
	if len(r.wave) == 0 {
		return 0, io.EOF
	}
	n := min(len(p)/4, len(r.wave))
	for i, v := range r.wave[:n] {
		binary.LittleEndian.PutUint32(p[4*i:], math.Float32bits(v))
	}
	r.wave = r.wave[n:]
	return 4 * n, nil
}
