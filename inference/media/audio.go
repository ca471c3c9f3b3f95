package media

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
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

// SeparationRate is the rate of the samples that Audio.Stereo returns, in Hz.
const SeparationRate = 44100

// layout is how decoded samples come out: interleaved if there are two channels.
type layout struct{ rate, channels int }

// Audio is the first audio stream of a file. What ffprobe says of it is asked once, for decoding and for muxing.
type Audio struct {
	path string
	info AudioInfo
}

// OpenAudio looks at a file's first audio stream.
// Faults: audio_undecodable, audio_empty, media_limit, media_stuck and media_killed (the last two retryable), all with the
// field "audio"; ffmpeg_missing, ffmpeg_unusable (retryable). A cancelled context is reported as such.
func OpenAudio(ctx context.Context, path string) (*Audio, error) {
	info, err := probeAudio(ctx, path)
	if err != nil {
		return nil, err
	}
	path, err = filepath.Abs(path)
	return &Audio{path, *info}, err
}

// DecodeAudio is Mono of a file's first audio stream.
func DecodeAudio(ctx context.Context, path string, maxSeconds float64) ([]float32, error) {
	a, err := OpenAudio(ctx, path)
	if err != nil {
		return nil, err
	}
	return a.Mono(ctx, maxSeconds)
}

// Mono returns the stream as 16 kHz mono samples in [-1, 1): the mean over its channels, resampled by soxr (HQ) to exactly
// ceil(n*16000/rate) samples. That is librosa.load(path, sr=16000), through which the model's training data went. Spec §4.1.
//
// More than maxSeconds of sound is refused while it is decoded, whatever the header says; maxSeconds <= 0 means 600.
// Faults: audio_undecodable, audio_empty (under 40 ms), audio_too_long and OpenAudio's.
func (a *Audio) Mono(ctx context.Context, maxSeconds float64) ([]float32, error) {
	if maxSeconds <= 0 {
		maxSeconds = defaultMaxSeconds
	}
	to := layout{SampleRate, 1}
	samples, length, err := a.decode(ctx, to, to.samples(maxSeconds))
	if errors.Is(err, errTooLong) {
		return nil, fault.New("audio_too_long", audioField, "The audio is longer than the limit of %g s. Cut it.", maxSeconds)
	}
	if err != nil {
		return nil, err
	}
	return to.usable(to.fit(samples, length, a.info.Rate))
}

// Stereo returns the first samples of the two channels at 44.1 kHz, or all that there are, for a separator of voices. A mono
// stream is in both; of more than two channels both are the mean. Decoding ends with what was asked for. Faults are Mono's,
// without audio_too_long.
func (a *Audio) Stereo(ctx context.Context, first int) (left, right []float32, err error) {
	to := layout{SeparationRate, 2}
	samples, length, err := a.decode(ctx, to, to.channels*first)
	if err == nil {
		samples = to.fit(samples, length, a.info.Rate)
	} else if !errors.Is(err, errTooLong) {
		return nil, nil, err
	}
	if samples, err = to.usable(samples[:min(len(samples), to.channels*first)]); err != nil {
		return nil, nil, err
	}
	left, right = make([]float32, len(samples)/2), make([]float32, len(samples)/2)
	for i := range left {
		left[i], right[i] = samples[2*i], samples[2*i+1]
	}
	return left, right, nil
}

// samples is how many there are of all channels in some seconds.
func (to layout) samples(seconds float64) int {
	return int(math.Ceil(seconds*float64(to.rate))) * to.channels
}

// usable refuses what is too short or holds what is no number.
func (to layout) usable(samples []float32) ([]float32, error) {
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

// decode also counts the samples of a channel before resampling, from which the exact length follows. ffmpeg writes
// those, as one byte each, to a second pipe: headers lie about lengths. Where there are more than limit samples, of all
// channels, it ends with errTooLong, those up to there and no length.
func (a *Audio) decode(parent context.Context, to layout, limit int) (samples []float32, length int64, err error) {
	ctx, stop := context.WithCancel(parent)
	defer stop()
	path, policy, err := reading(a.path)
	if err != nil {
		return nil, 0, err
	}
	args := append([]string{"-nostdin", "-hide_banner", "-loglevel", "error", "-filter_complex_threads", "1"}, untrusted(path)...)
	t, err := newTool(ctx, "ffmpeg", policy, append(args,
		"-filter_complex", "[0:a:0]"+to.mix(a.info.Channels)+",asplit[mixed][counted];[mixed]"+resample(to.rate)+"[resampled]",
		"-map", "[resampled]", "-f", "f32le", "pipe:1",
		"-map", "[counted]", "-c:a", "pcm_s8", "-f", "s8", "pipe:3")...)
	if err != nil {
		return nil, 0, err
	}
	defer t.Close()
	stdout, err := t.StdoutPipe()
	if err != nil {
		return nil, 0, err
	}
	counter, counted, err := os.Pipe()
	if err != nil {
		return nil, 0, err
	}
	t.ExtraFiles = []*os.File{counted}
	err = t.start(ctx)
	counted.Close() //nolint:errcheck // ours is a copy of the child's
	if err != nil {
		counter.Close() //nolint:errcheck // nothing was read
		return nil, 0, err
	}
	lengths := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(io.Discard, counter) // a failure shows in ffmpeg's exit status
		counter.Close()                      //nolint:errcheck // only read from
		lengths <- n
	}()

	samples, readErr := readFloats(t.lively(stdout), limit)
	if readErr != nil {
		stop()
	}
	waitErr := t.Wait()
	length = <-lengths / int64(to.channels)
	switch {
	case parent.Err() != nil:
		return nil, 0, interrupted(parent, "decode audio")
	case errors.Is(readErr, errTooLong):
		return samples, 0, errTooLong
	case waitErr != nil:
		if err := t.unheard(waitErr); err != nil {
			return nil, 0, err
		}
		return nil, 0, undecodableAudio().Because(waitErr)
	case readErr != nil:
		return nil, 0, undecodableAudio().Because(readErr)
	case len(samples) == 0 && t.Said() != "": // every packet was bad, which ffmpeg does not call a failure
		return nil, 0, undecodableAudio().Because(fmt.Errorf("ffmpeg: %s", t.Said()))
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

// readFloats reads little-endian float32 until the end or until there are more than limit, and then a few more.
func readFloats(r io.Reader, limit int) ([]float32, error) {
	var samples []float32
	buf := make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(r, buf)
		for i := 0; i+4 <= n; i += 4 {
			samples = append(samples, math.Float32frombits(binary.LittleEndian.Uint32(buf[i:])))
		}
		if len(samples) > limit {
			return samples, errTooLong
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
