package media

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// SampleRate is the rate of the samples that DecodeAudio returns, in Hz.
const SampleRate = 16000

const (
	defaultMaxSeconds = 600
	minLength         = 25 // a second's part: one video frame at the model's 25 fps
	audioField        = "audio"
)

// SeparationRate is the rate of the samples that DecodeStereo returns, in Hz.
const SeparationRate = 44100

// layout is how decoded samples come out: interleaved if there are two channels.
type layout struct{ rate, channels int }

// DecodeAudio returns the file's first audio stream as 16 kHz mono samples in [-1, 1): the mean over its channels,
// resampled by soxr (HQ) to exactly ceil(n*16000/rate) samples. That is librosa.load(path, sr=16000), through which the
// model's training data went. Spec §4.1.
//
// More than maxSeconds of sound is refused while it is decoded, whatever the header says; maxSeconds <= 0 means 600.
// Faults: audio_undecodable, audio_empty (under 40 ms), audio_too_long, all with the field "audio"; ffmpeg_missing.
// A cancelled context is reported as such.
func DecodeAudio(ctx context.Context, path string, maxSeconds float64) ([]float32, error) {
	return decode(ctx, path, maxSeconds, layout{SampleRate, 1})
}

// DecodeStereo returns the two channels of the same stream at 44.1 kHz, for a separator of voices. A mono stream is in
// both; of more than two channels both are the mean. Limits and faults are DecodeAudio's.
func DecodeStereo(ctx context.Context, path string, maxSeconds float64) (left, right []float32, err error) {
	samples, err := decode(ctx, path, maxSeconds, layout{SeparationRate, 2})
	if err != nil {
		return nil, nil, err
	}
	left, right = make([]float32, len(samples)/2), make([]float32, len(samples)/2)
	for i := range left {
		left[i], right[i] = samples[2*i], samples[2*i+1]
	}
	return left, right, nil
}

func decode(ctx context.Context, path string, maxSeconds float64, to layout) ([]float32, error) {
	if maxSeconds <= 0 {
		maxSeconds = defaultMaxSeconds
	}
	source, err := probeAudio(ctx, path)
	if err != nil {
		return nil, err
	}
	samples, length, err := decodeAudio(ctx, path, source, maxSeconds, to)
	if err != nil {
		return nil, err
	}
	samples = to.fit(samples, length, source.Rate)
	if perChannel := len(samples) / to.channels; perChannel < to.rate/minLength {
		return nil, emptyAudio("has only %.0f ms of sound", float64(perChannel)/float64(to.rate)*1000)
	}
	for _, v := range samples {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, undecodableAudio().Because(errors.New("a sample is not a finite number"))
		}
	}
	return samples, nil
}

func undecodableAudio() *fault.Error {
	return fault.New("audio_undecodable", audioField, "The audio is damaged or of a format that is not supported. Send a WAV, MP3, FLAC, OGG, M4A/MP4, AAC or WebM file.")
}

func emptyAudio(what string, args ...any) error {
	return fault.New("audio_empty", audioField, "The audio %s; at least 40 ms (one video frame) are needed.", fmt.Sprintf(what, args...))
}

func probeAudio(ctx context.Context, path string) (*AudioInfo, error) {
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Size() == 0 {
		return nil, emptyAudio("file is empty")
	}
	info, err := probe(ctx, path, undecodableAudio(), "-select_streams", "a:0")
	if err != nil {
		return nil, err
	}
	a := info.Audio
	if a == nil {
		return nil, fault.New("audio_undecodable", audioField, "The file holds no audio track.")
	}
	if a.Rate <= 0 || a.Channels <= 0 || a.Channels > 64 {
		return nil, undecodableAudio().Because(fmt.Errorf("%d channels at %d Hz", a.Channels, a.Rate))
	}
	return a, nil
}

// decodeAudio also counts the samples of a channel before resampling, from which the exact length follows. ffmpeg
// writes those, as one byte each, to a second pipe: headers lie about lengths.
func decodeAudio(parent context.Context, path string, source *AudioInfo, maxSeconds float64, to layout) (samples []float32, length int64, err error) {
	ctx, stop := context.WithCancel(parent)
	defer stop()
	args := append([]string{"-nostdin", "-hide_banner", "-loglevel", "error"}, untrusted(path)...)
	t, err := newTool(ctx, "ffmpeg", append(args,
		"-filter_complex", "[0:a:0]"+to.mix(source.Channels)+",asplit[mixed][counted];[mixed]"+resample(to.rate)+"[resampled]",
		"-map", "[resampled]", "-f", "f32le", "pipe:1",
		"-map", "[counted]", "-c:a", "pcm_s8", "-f", "s8", "pipe:3")...)
	if err != nil {
		return nil, 0, err
	}
	stdout, err := t.StdoutPipe()
	if err != nil {
		return nil, 0, err
	}
	counter, counted, err := os.Pipe()
	if err != nil {
		return nil, 0, err
	}
	t.ExtraFiles = []*os.File{counted}
	err = t.Start()
	counted.Close() //nolint:errcheck // ours is a copy of the child's
	if err != nil {
		counter.Close() //nolint:errcheck // nothing was read
		return nil, 0, fmt.Errorf("start ffmpeg: %w", err)
	}
	lengths := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(io.Discard, counter) // a failure shows in ffmpeg's exit status
		counter.Close()                      //nolint:errcheck // only read from
		lengths <- n
	}()

	samples, readErr := readFloats(stdout, int(math.Ceil(maxSeconds*float64(to.rate)))*to.channels)
	if readErr != nil {
		stop()
	}
	waitErr := t.wait()
	length = <-lengths / int64(to.channels)
	switch {
	case parent.Err() != nil:
		return nil, 0, interrupted(parent, "decode audio")
	case errors.Is(readErr, errTooLong):
		return nil, 0, fault.New("audio_too_long", audioField, "The audio is longer than the limit of %g s. Cut it.", maxSeconds)
	case waitErr != nil:
		if incomplete := t.incomplete(waitErr); incomplete != nil {
			return nil, 0, incomplete
		}
		return nil, 0, undecodableAudio().Because(waitErr)
	case readErr != nil:
		return nil, 0, undecodableAudio().Because(readErr)
	case len(samples) == 0 && t.stderr.String() != "": // every packet was bad, which ffmpeg does not call a failure
		return nil, 0, undecodableAudio().Because(fmt.Errorf("ffmpeg: %s", t.stderr.String()))
	}
	return samples, length, nil
}

// resample is the filter of librosa's default, soxr in high quality.
func resample(rate int) string {
	return fmt.Sprintf("aresample=%d:resampler=soxr:precision=20:osf=flt", rate)
}

// floats come before every mix, so that nothing is rounded to the file's sample format.
const floats = "aformat=sample_fmts=fltp"

// mix is the filter from that many channels to the layout's.
func (to layout) mix(channels int) string {
	switch to.channels {
	case channels:
		return floats
	case 1:
		return meanOfChannels(channels)
	}
	return floats + ",pan=stereo|c0=" + mean(channels) + "|c1=" + mean(channels)
}

// meanOfChannels spells the mix out, because ffmpeg's own downmix (-ac 1) weighs by loudness: two channels come out
// 1.41 times louder than their mean.
func meanOfChannels(n int) string { return floats + ",pan=mono|c0=" + mean(n) }

func mean(channels int) string {
	weight := strconv.FormatFloat(1/float64(channels), 'g', 17, 64)
	terms := make([]string, channels)
	for c := range terms {
		terms[c] = weight + "*c" + strconv.Itoa(c)
	}
	return strings.Join(terms, "+")
}

var errTooLong = errors.New("more samples than allowed")

// readFloats reads little-endian float32 until the end or until there are more than limit.
func readFloats(r io.Reader, limit int) ([]float32, error) {
	var samples []float32
	buf := make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(r, buf)
		for i := 0; i+4 <= n; i += 4 {
			samples = append(samples, math.Float32frombits(binary.LittleEndian.Uint32(buf[i:])))
		}
		if len(samples) > limit {
			return nil, errTooLong
		}
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return samples, nil
		case err != nil:
			return nil, err
		}
	}
}

// fit corrects the one or two samples by which the resampler's last block may differ from ceil(n*rate/sourceRate). A
// larger difference means that the rate changed within the file; then the resampler knows better.
func (to layout) fit(samples []float32, sourceLength int64, sourceRate int) []float32 {
	want := (sourceLength*int64(to.rate) + int64(sourceRate) - 1) / int64(sourceRate) * int64(to.channels)
	switch missing := want - int64(len(samples)); {
	case missing > 0 && missing <= 2*int64(to.channels):
		return append(samples, make([]float32, missing)...)
	case missing < 0 && missing >= -2*int64(to.channels):
		return samples[:want]
	}
	return samples
}
