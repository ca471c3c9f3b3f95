package media

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// Every frame carries its number as 8 squares, black or white; all must come back once and in order. Frames 29 and 58
// are the ones that the reference's writer replaces.
func TestWriteMP4KeepsEveryFrame(t *testing.T) {
	const frames = 97
	spec := VideoSpec{Width: 128, Height: 32, FPS: 25, Frames: frames, AudioPath: write(t, "a.wav", wav(44100, 2, 44100*5, noise))}
	path := filepath.Join(t.TempDir(), "out.mp4")
	if err := WriteMP4(t.Context(), path, spec, produce(spec, frames, func(i int, frame []byte) {
		for p := range len(frame) / 3 {
			bit := p % spec.Width / 16
			fill(frame[3*p:], (i>>bit&1)*255)
		}
	})); err != nil {
		t.Fatal(err)
	}
	grey := ffmpeg(t, "-i", path, "-map", "0:v", "-fps_mode", "passthrough", "-pix_fmt", "gray", "-f", "rawvideo", "pipe:1")
	size := spec.Width * spec.Height
	if len(grey) != frames*size {
		t.Fatalf("%g frames came back", float64(len(grey))/float64(size))
	}
	for i := range frames {
		got := 0
		for bit := range 8 {
			if grey[i*size+16*spec.Width+bit*16+8] > 127 {
				got |= 1 << bit
			}
		}
		if got != i {
			t.Fatalf("frame %d shows number %d", i, got)
		}
	}

	got, err := Probe(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	want := &VideoInfo{Codec: "h264", PixelFormat: "yuv420p", Space: "bt709", Primaries: "bt709", Transfer: "bt709", Range: "tv",
		Width: 128, Height: 32, FPS: 25, Frames: frames, Duration: 3.88}
	if diff := cmp.Diff(want, got.Video); diff != "" {
		t.Errorf("video (-want +got):\n%s", diff)
	}
	if a := got.Audio; a.Codec != "aac" || a.Rate != 44100 || a.Channels != 2 || a.Start != 0 || math.Abs(a.Duration-3.88) > 0.03 {
		t.Errorf("audio is %+v", a)
	}
	if math.Abs(got.Duration-3.88) > 0.03 {
		t.Errorf("duration is %g", got.Duration)
	}
	if boxes := topBoxes(mustRead(t, path)); strings.Index(boxes, "moov") > strings.Index(boxes, "mdat") {
		t.Errorf("not ready to play at once: %s", boxes)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// A white frame and a beep every second, for ten seconds: their distance is under a frame everywhere, so there is
// neither offset nor drift.
func TestWriteMP4KeepsAudioInTime(t *testing.T) {
	const fps, seconds, first = 25, 10, 12 // frame 12 of each second flashes
	for _, rate := range []int{16000, 44100} {
		t.Run(strconv.Itoa(rate), func(t *testing.T) {
			t.Parallel()
			beep := wav(rate, 1, rate*seconds, func(i, _ int) int16 {
				if at := i%rate - rate*first/fps; at >= 0 && at < rate/fps {
					return int16(20000 * math.Sin(2*math.Pi*1000*float64(i)/float64(rate)))
				}
				return 0
			})
			spec := VideoSpec{Width: 64, Height: 64, FPS: fps, Frames: fps * seconds, AudioPath: write(t, "beep.wav", beep)}
			path := filepath.Join(t.TempDir(), "out.mp4")
			if err := WriteMP4(t.Context(), path, spec, produce(spec, spec.Frames, func(i int, frame []byte) {
				level := 0
				if i%fps == first {
					level = 255
				}
				for p := range len(frame) / 3 {
					fill(frame[3*p:], level)
				}
			})); err != nil {
				t.Fatal(err)
			}
			flashes, beeps := flashTimes(t, path, spec), beepTimes(t, path)
			if len(flashes) != seconds || len(beeps) != seconds {
				t.Fatalf("%d flashes, %d beeps", len(flashes), len(beeps))
			}
			for i := range flashes {
				if d := beeps[i] - flashes[i]; math.Abs(d) > 0.01 {
					t.Errorf("beep %d comes %.1f ms after its flash", i, d*1000)
				}
			}
		})
	}
}

// flashTimes are the presentation times of the white frames, in seconds.
func flashTimes(t *testing.T, path string, spec VideoSpec) (times []float64) {
	stamps, err := exec.Command("ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "frame=best_effort_timestamp_time", "-of", "csv=p=0", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	grey := ffmpeg(t, "-i", path, "-map", "0:v", "-fps_mode", "passthrough", "-pix_fmt", "gray", "-f", "rawvideo", "pipe:1")
	for i, line := range strings.Fields(string(stamps)) {
		if grey[i*spec.Width*spec.Height+spec.Width*spec.Height/2] > 127 {
			at, err := strconv.ParseFloat(strings.Trim(line, ","), 64)
			if err != nil {
				t.Fatal(err)
			}
			times = append(times, at)
		}
	}
	return times
}

// beepTimes are the moments at which sound sets in after silence, in seconds.
func beepTimes(t *testing.T, path string) (times []float64) {
	const rate = 48000
	pcm := ffmpeg(t, "-i", path, "-map", "0:a", "-ac", "1", "-ar", strconv.Itoa(rate), "-f", "s16le", "pipe:1")
	last := -rate
	for i := range len(pcm) / 2 {
		if v := int16(binary.LittleEndian.Uint16(pcm[2*i:])); v > 6000 || v < -6000 {
			if i-last > rate/2 {
				times = append(times, float64(i)/rate)
			}
			last = i
		}
	}
	return times
}

func TestWriteMP4AudioLengths(t *testing.T) {
	const frames = 50 // 2 s
	for name, c := range map[string]struct {
		audio    []byte
		channels int
		seconds  float64
	}{
		"longer":       {wav(16000, 1, 16000*7, noise), 1, 2},
		"as long":      {wav(16000, 2, 16000*2, noise), 2, 2},
		"shorter":      {wav(16000, 1, 16000, noise), 1, 1},
		"six channels": {wav(16000, 6, 16000*3, noise), 1, 2},
		"seven":        {wav(48000, 7, 48000*3, noise), 1, 2},
		"high rate":    {wav(192000, 2, 192000*3, noise), 2, 2},
		"8 kHz":        {wav(8000, 1, 8000*3, noise), 1, 2},
		"none":         {nil, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := VideoSpec{Width: 32, Height: 32, FPS: 25, Frames: frames}
			if c.audio != nil {
				spec.AudioPath = write(t, "a.wav", c.audio)
			}
			path := filepath.Join(t.TempDir(), "out.mp4")
			if err := WriteMP4(t.Context(), path, spec, produce(spec, frames, nil)); err != nil {
				t.Fatal(err)
			}
			got, err := Probe(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			if got.Video.Frames != frames || got.Video.Duration != 2 {
				t.Errorf("video is %+v", got.Video)
			}
			switch {
			case c.audio == nil:
				if got.Audio != nil {
					t.Errorf("silent video has %+v", got.Audio)
				}
			case got.Audio.Channels != c.channels || math.Abs(got.Audio.Duration-c.seconds) > 0.13 || got.Audio.Duration > 2.13:
				t.Errorf("audio is %+v, want %d channels for %g s", got.Audio, c.channels, c.seconds)
			}
		})
	}
}

// The sound of a late-starting track begins with the first frame, as its samples did for the model.
func TestWriteMP4LateAudioStartsAtOnce(t *testing.T) {
	source := filepath.Join(t.TempDir(), "late.mp4")
	ffmpeg(t, "-f", "lavfi", "-i", "testsrc=d=2:s=64x64:r=10", "-itsoffset", "0.5", "-f", "lavfi", "-i", "sine=1000:d=1:r=44100", "-af", "volume=8", "-c:a", "aac", source)
	spec := VideoSpec{Width: 32, Height: 32, FPS: 25, Frames: 50, AudioPath: source}
	path := filepath.Join(t.TempDir(), "out.mp4")
	if err := WriteMP4(t.Context(), path, spec, produce(spec, 50, nil)); err != nil {
		t.Fatal(err)
	}
	if at := beepTimes(t, path); len(at) != 1 || at[0] > 0.04 {
		t.Errorf("sound sets in at %v s", at)
	}
}

// Flat colours survive: the right matrix and range are used and announced.
func TestWriteMP4Colours(t *testing.T) {
	colours := [][3]byte{{255, 0, 0}, {0, 255, 0}, {0, 0, 255}, {255, 255, 255}, {0, 0, 0}, {128, 128, 128}, {200, 120, 90}, {30, 90, 160}}
	spec := VideoSpec{Width: 128, Height: 16, FPS: 25, Frames: 1, CRF: 1}
	path := filepath.Join(t.TempDir(), "out.mp4")
	if err := WriteMP4(t.Context(), path, spec, produce(spec, 1, func(_ int, frame []byte) {
		for p := range len(frame) / 3 {
			copy(frame[3*p:], colours[p%spec.Width/16][:])
		}
	})); err != nil {
		t.Fatal(err)
	}
	yuv := ffmpeg(t, "-i", path, "-pix_fmt", "yuv444p", "-vf", "scale=in_range=tv:out_range=tv:flags=neighbor", "-f", "rawvideo", "pipe:1")
	n := spec.Width * spec.Height
	if len(yuv) != 3*n {
		t.Fatalf("%d bytes", len(yuv))
	}
	for i, c := range colours {
		at := 8*spec.Width + i*16 + 8
		r, g, b := float64(c[0])/255, float64(c[1])/255, float64(c[2])/255
		y := 0.2126*r + 0.7152*g + 0.0722*b // BT.709, then 16..235 and 16..240
		want := [3]float64{16 + 219*y, 128 + 224*(b-y)/1.8556, 128 + 224*(r-y)/1.5748}
		for plane := range want {
			if got := float64(yuv[plane*n+at]); math.Abs(got-want[plane]) > 2 {
				t.Errorf("colour %v: plane %d is %g, want %.1f", c, plane, got, want[plane])
			}
		}
	}
}

func TestWriteMP4Faults(t *testing.T) {
	good := VideoSpec{Width: 32, Height: 32, FPS: 25, Frames: 3}
	broken := errors.New("no frame today")
	with := func(change func(*VideoSpec)) VideoSpec { s := good; change(&s); return s }
	for name, c := range map[string]struct {
		spec    VideoSpec
		next    func() ([]byte, error)
		code    string
		field   string
		mention string
	}{
		"odd width":        {with(func(s *VideoSpec) { s.Width = 33 }), nil, "invalid_video", "width", "even"},
		"no height":        {with(func(s *VideoSpec) { s.Height = 0 }), nil, "invalid_video", "height", "even"},
		"fps":              {with(func(s *VideoSpec) { s.FPS = 0 }), nil, "invalid_video", "fps", "240"},
		"frames":           {with(func(s *VideoSpec) { s.Frames = 0 }), nil, "invalid_video", "frames", "one"},
		"crf":              {with(func(s *VideoSpec) { s.CRF = 52 }), nil, "invalid_video", "output.crf", "51"},
		"wrong codec":      {with(func(s *VideoSpec) { s.encoder = "nosuch" }), produce(good, 3, nil), "encode_failed", "", "Unknown encoder 'nosuch'"},
		"too few frames":   {good, produce(good, 2, nil), "encode_failed", "", "2 frames, not 3"},
		"too many frames":  {good, produce(good, 4, nil), "encode_failed", "", "more than 3"},
		"wrong frame size": {with(func(s *VideoSpec) { s.Width = 64 }), produce(good, 3, nil), "encode_failed", "", "3072 bytes, not 6144"},
		"bad audio":        {with(func(s *VideoSpec) { s.AudioPath = "testdata/420.jpg" }), produce(good, 3, nil), "audio_undecodable", "audio", ""},
		"producer fails":   {good, func() ([]byte, error) { return nil, broken }, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			err := WriteMP4(t.Context(), filepath.Join(dir, "out.mp4"), c.spec, c.next)
			if c.code == "" {
				if !errors.Is(err, broken) {
					t.Errorf("error is %v", err)
				}
			} else {
				wantFault(t, err, c.code, c.field)
				if !strings.Contains(err.Error(), c.mention) {
					t.Errorf("%q does not mention %q", err, c.mention)
				}
			}
			wantEmpty(t, dir)
		})
	}
	wantFault(t, WriteMP4(t.Context(), "/no such folder/x.mp4", good, produce(good, 3, nil)), "encode_failed", "")
}

// ffmpeg dies while frames are coming, as when memory runs out: the write fails, and the error tells what happened.
func TestWriteMP4KilledEncoder(t *testing.T) {
	dir := t.TempDir()
	spec := VideoSpec{Width: 320, Height: 320, FPS: 25, Frames: 100000}
	err := WriteMP4(t.Context(), filepath.Join(dir, "out.mp4"), spec, produce(spec, spec.Frames, func(i int, _ []byte) {
		if i == 5 {
			if err := syscall.Kill(child(t), syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		}
	}))
	wantFault(t, err, "encode_failed", "")
	if f := asFault(t, err); !f.Retryable || !strings.Contains(f.Err.Error(), "killed") || !errors.Is(f, syscall.EPIPE) {
		t.Errorf("error is %+v", f)
	}
	wantEmpty(t, dir)
}

func TestWriteMP4Cancelled(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	spec := VideoSpec{Width: 640, Height: 480, FPS: 25, Frames: 100000, AudioPath: write(t, "a.wav", wav(16000, 1, 16000, noise))}
	pid := 0
	var cancelled time.Time
	err := WriteMP4(ctx, filepath.Join(dir, "out.mp4"), spec, produce(spec, spec.Frames, func(i int, _ []byte) {
		if i == 20 {
			pid = child(t)
			cancelled = time.Now()
			cancel()
		}
	}))
	if !errors.Is(err, context.Canceled) || fault.CodeOf(err) != "internal" {
		t.Errorf("error is %v", err)
	}
	if took := time.Since(cancelled); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("ffmpeg still runs: %v", err)
	}
	wantEmpty(t, dir)
}

// An older file of the same name stays until the new one is complete.
func TestWriteMP4KeepsTheOldFileOnFailure(t *testing.T) {
	path := write(t, "out.mp4", []byte("old"))
	spec := VideoSpec{Width: 32, Height: 32, FPS: 25, Frames: 3}
	if err := WriteMP4(t.Context(), path, spec, produce(spec, 2, nil)); err == nil {
		t.Fatal("no error")
	}
	if got := mustRead(t, path); string(got) != "old" {
		t.Errorf("file holds %q", got)
	}
	if err := WriteMP4(t.Context(), path, spec, produce(spec, 3, nil)); err != nil {
		t.Fatal(err)
	}
	if got := mustRead(t, path); string(got) == "old" {
		t.Error("file was not replaced")
	}
}

func TestProbeFaults(t *testing.T) {
	_, err := Probe(t.Context(), write(t, "x.mp4", []byte("nothing")))
	wantFault(t, err, "media_undecodable", "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Probe(ctx, "testdata/420.jpg")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

func TestNumber(t *testing.T) {
	for s, want := range map[string]float64{"25": 25, "25/1": 25, "30000/1001": 30000.0 / 1001, "0/0": 0, "": 0, "N/A": 0, "1/x": 0} {
		if got := number(s); got != want {
			t.Errorf("%q is %g", s, got)
		}
	}
}

// produce makes a source of n frames, drawn into one buffer that is used again.
func produce(spec VideoSpec, n int, draw func(i int, frame []byte)) func() ([]byte, error) {
	frame, i := make([]byte, spec.Width*spec.Height*3), 0
	return func() ([]byte, error) {
		if i == n {
			return nil, io.EOF
		}
		if draw != nil {
			draw(i, frame)
		}
		i++
		return frame, nil
	}
}

func fill(pixel []byte, level int) {
	pixel[0], pixel[1], pixel[2] = byte(level), byte(level), byte(level)
}

func noise(i, c int) int16 { return int16((i*7919+c*104729)%20011 - 10005) }

// child is the process id of the one ffmpeg that this process has started.
func child(t *testing.T) int {
	pid := childNamed("ffmpeg")
	if pid == 0 {
		t.Fatal("no ffmpeg is running")
	}
	return pid
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) > 0 {
		t.Errorf("left behind: %v", entries)
	}
}

// topBoxes lists an mp4 file's outermost boxes.
func topBoxes(data []byte) string {
	var names bytes.Buffer
	for len(data) >= 8 {
		size := int(binary.BigEndian.Uint32(data))
		fmt.Fprintf(&names, "%s ", data[4:8])
		if size < 8 || size > len(data) {
			break
		}
		data = data[size:]
	}
	return names.String()
}
