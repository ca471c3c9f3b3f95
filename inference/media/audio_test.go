package media

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/humo-worker/humo-worker/inference/golden/goldentest"

	"github.com/google/go-cmp/cmp"

	"github.com/humo-worker/humo-worker/inference/fault"
)

func TestDecodeAudioGoldenResampled(t *testing.T) {
	var config struct{ Wav string }
	c := goldentest.Open(t, "audio_44k_stereo")
	c.Config(t, &config)
	got, err := DecodeAudio(t.Context(), c.Path(config.Wav), 60)
	if err != nil {
		t.Fatal(err)
	}
	c.Near(t, "out.waveform16k", got)
}

// At 16 kHz mono nothing is left to do but to divide by 32768.
func TestDecodeAudioGolden16k(t *testing.T) {
	for _, name := range []string{"audio_16k", "audio_short"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var config struct{ Wav string }
			c := goldentest.Open(t, name)
			c.Config(t, &config)
			path := c.Path(config.Wav)
			got, err := DecodeAudio(t.Context(), path, 60)
			if err != nil {
				t.Fatal(err)
			}
			data := mustRead(t, path)
			pcm := data[bytes.Index(data, []byte("data"))+8:]
			want := make([]float32, len(pcm)/2)
			for i := range want {
				want[i] = float32(int16(binary.LittleEndian.Uint16(pcm[2*i:]))) / 32768
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeAudioMixesToTheMean(t *testing.T) {
	for _, channels := range []int{1, 2, 3, 6, 7, 9} {
		sample := func(i, c int) int16 { return int16((i*37+c*1009)%60001 - 30000) }
		got, err := DecodeAudio(t.Context(), write(t, "n.wav", wav(16000, channels, 800, sample)), 60)
		if err != nil {
			t.Errorf("%d channels: %v", channels, err)
			continue
		}
		if len(got) != 800 {
			t.Errorf("%d channels: %d samples", channels, len(got))
		}
		for i, v := range got {
			sum := 0
			for c := range channels {
				sum += int(sample(i, c))
			}
			if want := float64(sum) / float64(channels) / 32768; math.Abs(want-float64(v)) > 3e-7 { // float32 sums
				t.Errorf("%d channels: sample %d is %g, want %g", channels, i, v, want)
				break
			}
		}
	}
}

func TestDecodeAudioLength(t *testing.T) {
	for _, c := range []struct{ rate, frames int }{{8000, 321}, {11025, 1000}, {22050, 12345}, {22050, 22051}, {44100, 30011}, {48000, 48001}, {96000, 9999}} {
		tone := func(i, _ int) int16 { return int16(20000 * math.Sin(2*math.Pi*440*float64(i)/float64(c.rate))) }
		got, err := DecodeAudio(t.Context(), write(t, "x.wav", wav(c.rate, 1, c.frames, tone)), 60)
		if err != nil {
			t.Errorf("%v: %v", c, err)
			continue
		}
		if want := int(math.Ceil(float64(c.frames) * 16000 / float64(c.rate))); len(got) != want {
			t.Errorf("%v: %d samples, want %d", c, len(got), want)
		}
	}
}

// soxr's filter is steep: it keeps what lies just below 8 kHz and removes what lies just above. The golden sound has
// nothing up there and could not tell it from ffmpeg's own.
func TestDecodeAudioResamplerIsSteep(t *testing.T) {
	const rate = 44100
	for frequency, want := range map[float64]float64{7200: 0.5, 8300: 0} {
		got, err := DecodeAudio(t.Context(), write(t, "x.wav", wav(rate, 1, rate, func(i, _ int) int16 {
			return int16(math.Round(16384 * math.Sin(2*math.Pi*frequency*float64(i)/rate)))
		})), 60)
		if err != nil {
			t.Fatal(err)
		}
		power := 0.0
		for _, v := range got[4000:12000] {
			power += float64(v) * float64(v) / 8000
		}
		if amplitude := math.Sqrt(2 * power); math.Abs(amplitude-want) > 1e-3 {
			t.Errorf("amplitude at %g Hz is %g, want %g", frequency, amplitude, want)
		}
	}
}

func TestFitLength(t *testing.T) {
	for _, c := range []struct {
		have        int
		source      int64
		rate, wants int
	}{{10, 10, 16000, 10}, {9, 10, 16000, 10}, {8, 10, 16000, 10}, {12, 10, 16000, 10}, {7, 10, 16000, 7}, {13, 10, 16000, 13}, {4799, 13230, 44100, 4800}, {4800, 13231, 44100, 4801}} {
		if got := len(layout{SampleRate, 1}.fit(make([]float32, c.have), c.source, c.rate)); got != c.wants {
			t.Errorf("%v: %d", c, got)
		}
	}
	for have, wants := range map[int]int{20: 20, 18: 20, 16: 20, 14: 14, 22: 20, 24: 20, 26: 26} {
		if got := len(layout{SeparationRate, 2}.fit(make([]float32, have), 10, SeparationRate)); got != wants {
			t.Errorf("stereo, %d values: %d", have, got)
		}
	}
}

// What people send. Each is made from one second of a 440 Hz tone.
func TestDecodeAudioFormats(t *testing.T) {
	source := write(t, "tone.wav", wav(44100, 2, 44100, func(i, _ int) int16 { return int16(16000 * math.Sin(2*math.Pi*440*float64(i)/44100)) }))
	for name, args := range map[string][]string{
		"a.mp3": {"-c:a", "libmp3lame"}, "a.flac": {"-c:a", "flac"}, "a.ogg": {"-c:a", "libvorbis"}, "opus.ogg": {"-c:a", "libopus"}, "a.m4a": {"-c:a", "aac"},
		"a.aac": {"-c:a", "aac"}, "a.webm": {"-c:a", "libopus"}, "24.wav": {"-c:a", "pcm_s24le"}, "f.wav": {"-c:a", "pcm_f32le"}, "u8.wav": {"-c:a", "pcm_u8"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), name)
			ffmpeg(t, append(append([]string{"-i", source}, args...), path)...)
			got, err := DecodeAudio(t.Context(), path, 60)
			if err != nil {
				t.Fatal(err)
			}
			if seconds := float64(len(got)) / SampleRate; math.Abs(seconds-1) > 0.06 {
				t.Errorf("%.3f s", seconds)
			}
			middle := got[len(got)/4 : len(got)*3/4]
			power := 0.0
			for _, v := range middle {
				power += float64(v) * float64(v)
			}
			if rms := math.Sqrt(power / float64(len(middle))); math.Abs(rms-16000.0/32768/math.Sqrt2) > 0.02 {
				t.Errorf("rms %.3f", rms)
			}
		})
	}
}

// The sound of a video, whose audio starts late: the gap is not part of the samples.
func TestDecodeAudioOfAVideo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "v.mp4")
	ffmpeg(t, "-f", "lavfi", "-i", "testsrc=d=2:s=64x64:r=10", "-itsoffset", "0.5", "-f", "lavfi", "-i", "sine=440:d=1:r=16000", "-c:a", "aac", path)
	got, err := DecodeAudio(t.Context(), path, 60)
	if err != nil {
		t.Fatal(err)
	}
	if seconds := float64(len(got)) / SampleRate; math.Abs(seconds-1) > 0.15 {
		t.Errorf("%.3f s, want about 1", seconds)
	}
}

func TestDecodeAudioFaults(t *testing.T) {
	silence := func(int, int) int16 { return 0 }
	nan := wav(16000, 2, 1600, silence) // 2 x 16 bits read as one float
	binary.LittleEndian.PutUint16(nan[20:], 3)
	binary.LittleEndian.PutUint16(nan[22:], 1)
	binary.LittleEndian.PutUint16(nan[34:], 32)
	binary.LittleEndian.PutUint32(nan[44+400:], math.Float32bits(float32(math.NaN())))
	for name, c := range map[string]struct {
		data       []byte
		maxSeconds float64
		code       string
	}{
		"empty file":            {nil, 60, "audio_empty"},
		"header only":           {wav(16000, 1, 0, silence), 60, "audio_empty"},
		"39 ms":                 {wav(16000, 1, 639, silence), 60, "audio_empty"},
		"text":                  {[]byte(strings.Repeat("no sound here ", 1000)), 60, "audio_undecodable"},
		"too long":              {wav(16000, 1, 16001, silence), 1, "audio_too_long"},
		"length hidden":         {hideLength(wav(16000, 1, 32000, silence)), 1, "audio_too_long"},
		"not a number":          {nan, 60, "audio_undecodable"},
		"picture":               {mustRead(t, "testdata/420.jpg"), 60, "audio_undecodable"},
		"65 channels":           {wav(16000, 65, 1600, silence), 60, "audio_undecodable"},
		"video without a sound": {silentVideo(t), 60, "audio_undecodable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := DecodeAudio(t.Context(), write(t, "evil.wav", c.data), c.maxSeconds)
			wantFault(t, err, c.code, "audio")
		})
	}
	for name, c := range map[string]struct{ frames, maxSeconds int }{"exactly 40 ms": {640, 60}, "exactly the limit": {16000, 1}, "default limit": {16000, 0}} {
		if _, err := DecodeAudio(t.Context(), write(t, "x.wav", wav(16000, 1, c.frames, silence)), float64(c.maxSeconds)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := DecodeAudio(t.Context(), filepath.Join(t.TempDir(), "missing.wav"), 60)
	wantFault(t, err, "audio_undecodable", "audio")
	_, err = DecodeAudio(t.Context(), "/dev/zero", 60)
	wantFault(t, err, "audio_undecodable", "audio")
}

// Scripts that make an unguarded ffmpeg decode another file of the machine, and would so hand it to the sender.
func TestDecodeAudioReadsNoOtherFile(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret.mp3")
	ffmpeg(t, "-f", "lavfi", "-i", "sine=440:d=1", secret)
	for name, script := range map[string]string{
		"playlist": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://" + secret + "\n#EXT-X-ENDLIST\n",
		"concat":   "ffconcat version 1.0\nfile secret.mp3\n",
	} {
		path := filepath.Join(dir, name+".wav")
		if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := DecodeAudio(t.Context(), path, 60)
		wantFault(t, err, "audio_undecodable", "audio")
		spec := VideoSpec{Width: 16, Height: 16, FPS: 25, Frames: 1, AudioPath: path}
		wantFault(t, WriteMP4(t.Context(), filepath.Join(dir, "out.mp4"), spec, produce(spec, 1, nil)), "audio_undecodable", "audio")
	}
}

// A name is a name, whatever it looks like.
func TestDecodeAudioOddNames(t *testing.T) {
	t.Chdir(t.TempDir())
	data := wav(16000, 1, 1600, func(int, int) int16 { return 5 })
	for _, name := range []string{"-i", "-version", "http:x.wav", "concat:a|b", "pipe:0", "%d.wav", "a b'\"\n.wav", "file:file:x", "data:,x", "é.wav", "x.wav?y#z"} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeAudio(t.Context(), name, 60); err != nil || len(got) != 1600 {
			t.Errorf("%q: %d samples, %v", name, len(got), err)
		}
	}
}

func TestDecodeAudioCancelled(t *testing.T) {
	path := write(t, "long.wav", wav(44100, 2, 44100*120, func(i, _ int) int16 { return int16(i) }))
	reason := errors.New("job cancelled")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(100*time.Millisecond, func() { cancel(reason) })
	start := time.Now()
	_, err := DecodeAudio(ctx, path, 600)
	if !errors.Is(err, context.Canceled) || !errors.Is(err, reason) {
		t.Errorf("error is %v", err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	if fault.CodeOf(err) != "internal" {
		t.Errorf("a cancelled decoding is called %q", fault.CodeOf(err))
	}
}

func TestFFmpegMissing(t *testing.T) {
	path := write(t, "x.wav", wav(16000, 1, 1600, func(int, int) int16 { return 5 }))
	t.Setenv("PATH", t.TempDir())
	_, err := DecodeAudio(t.Context(), path, 60)
	wantFault(t, err, "ffmpeg_missing", "")
	if !strings.Contains(err.Error(), "apt-get install ffmpeg") {
		t.Errorf("no cure in %q", err)
	}
	wantFault(t, WriteMP4(t.Context(), filepath.Join(t.TempDir(), "x.mp4"), VideoSpec{Width: 16, Height: 16, FPS: 25, Frames: 1}, nil), "ffmpeg_missing", "")
}

// An ffmpeg without the parts we need is as good as none, and the error says which part.
func TestFFmpegIncomplete(t *testing.T) {
	sound := write(t, "x.wav", wav(44100, 1, 4410, noise))
	dir := t.TempDir()
	script := "#!/bin/sh\necho \"[auto] Requested resampling engine is unavailable\" >&2\necho \"Unknown encoder 'libx264'\" >&2\nexit 1\n"
	if err := os.WriteFile(filepath.Join(dir, "ffmpeg"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	_, err := DecodeAudio(t.Context(), sound, 60)
	wantFault(t, err, "ffmpeg_missing", "")
	spec := VideoSpec{Width: 16, Height: 16, FPS: 25, Frames: 1}
	wantFault(t, WriteMP4(t.Context(), filepath.Join(dir, "x.mp4"), spec, produce(spec, 1, nil)), "ffmpeg_missing", "")
}

// ffmpeg gets neither the worker's secrets nor a say about what reaches the log.
func TestToolEnvironmentAndLastWords(t *testing.T) {
	t.Setenv("BUCKET_SECRET_ACCESS_KEY", "hush")
	dir := t.TempDir()
	script := "#!/bin/sh\nexport -p >&2\nprintf 'a\\033[31mb\\n' >&2\nexit 3\n"
	if err := os.WriteFile(filepath.Join(dir, "ffprobe"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	_, err := DecodeAudio(t.Context(), write(t, "x.wav", []byte("x")), 60)
	wantFault(t, err, "audio_undecodable", "audio")
	f := asFault(t, err)
	if strings.Contains(f.Err.Error(), "hush") || !strings.Contains(f.Err.Error(), "a[31mb") || strings.Contains(f.Err.Error(), "\033") {
		t.Errorf("cause is %q", f.Err)
	}
	if strings.Contains(f.Message, "31m") {
		t.Errorf("message is %q", f.Message)
	}
}

func TestFaultsTellNoMetadata(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.mp3")
	ffmpeg(t, "-f", "lavfi", "-i", "sine=440:d=1", "-metadata", "title=PRIVATE", "-metadata", "comment=PRIVATE", path)
	data := mustRead(t, path)
	at := bytes.LastIndex(data, []byte("PRIVATE")) + 100
	for i := at; i < len(data); i++ {
		data[i] = byte(i * 7)
	}
	_, err := DecodeAudio(t.Context(), write(t, "x.mp3", data), 60)
	if err == nil || strings.Contains(err.Error(), "PRIVATE") {
		t.Errorf("error is %v", err)
	}
}

// wav makes a 16-bit file.
func wav(rate, channels, frames int, sample func(i, channel int) int16) []byte {
	var b []byte
	u16 := func(v int) { b = binary.LittleEndian.AppendUint16(b, uint16(v)) }
	u32 := func(v int) { b = binary.LittleEndian.AppendUint32(b, uint32(v)) }
	size := frames * channels * 2
	b = append(b, "RIFF"...)
	u32(36 + size)
	b = append(b, "WAVEfmt "...)
	u32(16)
	u16(1)
	u16(channels)
	u32(rate)
	u32(rate * channels * 2)
	u16(channels * 2)
	u16(16)
	b = append(b, "data"...)
	u32(size)
	for i := range frames {
		for c := range channels {
			u16(int(sample(i, c)))
		}
	}
	return b
}

// hideLength makes the header promise 100 samples; ffmpeg reads on to the end of the file.
func hideLength(wav []byte) []byte {
	binary.LittleEndian.PutUint32(wav[40:], 0)
	return wav
}

func silentVideo(t *testing.T) []byte {
	path := filepath.Join(t.TempDir(), "silent.mp4")
	ffmpeg(t, "-f", "lavfi", "-i", "testsrc=d=0.2:s=64x64:r=10", path)
	return mustRead(t, path)
}

// ffmpeg runs ffmpeg to make or read what a test needs, and returns its output.
func ffmpeg(t testing.TB, args ...string) []byte {
	t.Helper()
	out, err := exec.Command("ffmpeg", append([]string{"-nostdin", "-v", "error", "-y"}, args...)...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("ffmpeg: %v: %s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	return out
}
