package media

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/humo-worker/humo-worker/inference/sandbox"
)

// scripts are files that make an unguarded ffmpeg read something else: URL is a server's, SECRET a sound of this machine.
var scripts = map[string]string{
	"playlist of a file":  "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://SECRET\n#EXT-X-ENDLIST\n",
	"playlist of a URL":   "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nURL/a.mp3\n#EXT-X-ENDLIST\n",
	"playlist with a key": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXT-X-KEY:METHOD=AES-128,URI=\"URL/key\"\n#EXTINF:10,\nSECRET\n#EXT-X-ENDLIST\n",
	"playlist by pipes":   "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nconcat:SECRET|URL/b\n#EXT-X-ENDLIST\n",
	"concat of a file":    "ffconcat version 1.0\nfile SECRET\n",
	"concat of a URL":     "ffconcat version 1.0\nfile 'URL/c.mp3'\n",
	"dash":                `<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT10S"><Period><AdaptationSet mimeType="audio/mp4"><Representation id="1" bandwidth="1"><BaseURL>URL/d.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>`,
	"subtitles":           "1\n00:00:00,000 --> 00:00:10,000\n<img src=\"URL/e\">\n",
	"sdp":                 "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
	"svg":                 `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"><image xlink:href="URL/f.png"/></svg>`,
	"passwd by playlist":  "#EXTM3U\n#EXTINF:10,\n/etc/passwd\n",
}

// Nothing that a file says makes the worker read another file or connect to anything, whatever it is sent as.
func TestScriptsLeadNowhere(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s was asked for", r.URL) }))
	defer server.Close()
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret.mp3")
	ffmpeg(t, "-f", "lavfi", "-i", "sine=440:d=1", secret)
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			for _, ending := range []string{".wav", ".m3u8", ".png", ""} {
				path := filepath.Join(dir, "input"+ending)
				text := strings.NewReplacer("SECRET", secret, "URL", server.URL).Replace(script)
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				if ending == ".png" {
					_, err := DecodeImage(t.Context(), path)
					wantFault(t, err, "image_unsupported", "images")
					continue
				}
				_, _, err := stereo(t.Context(), path, 60*SeparationRate)
				wantFault(t, err, "audio_undecodable", "audio")
			}
		})
	}
}

// Should one of ffmpeg's guards have a hole, the sandbox holds: here none of them is given.
func TestUnguardedFFmpegIsConfined(t *testing.T) {
	if gaps := sandbox.Gaps(); len(gaps) > 0 {
		t.Skip("this kernel lacks: ", gaps)
	}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s was asked for", r.URL) }))
	defer server.Close()
	dir := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret.wav")
	if err := os.WriteFile(secret, wav(16000, 1, 16000, noise), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, script := range map[string]string{"concat": "ffconcat version 1.0\nfile '" + secret + "'\n", "url": "ffconcat version 1.0\nfile '" + server.URL + "/a.wav'\n"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"-nostdin", "-v", "error", "-f", "concat", "-safe", "0", "-protocol_whitelist", "file,http,tcp", "-i", path, "-f", "null", "-"}
		if name == "concat" {
			ffmpeg(t, args[3:]...) // it would read the secret
		}
		_, policy, err := reading(path)
		if err != nil {
			t.Fatal(err)
		}
		c, err := newTool(t.Context(), "ffmpeg", policy, args...)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if err := c.Wait(); err == nil || !strings.Contains(c.Said(), "ermi") { // Permission denied, or not permitted
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A fake ffmpeg is whatever its script says, in the sandbox.
func fake(t *testing.T, name, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// Programs that hang, spin, eat or are killed: each is ended and told apart, and whether it is worth another try.
func TestToolsThatFail(t *testing.T) {
	sound := write(t, "x.wav", wav(16000, 1, 16000, noise))
	t.Cleanup(func() { Use(Config{Patience: time.Minute}) })
	opened, err := OpenAudio(t.Context(), sound)
	if err != nil {
		t.Fatal(err)
	}
	probe := func() error { _, err := OpenAudio(t.Context(), sound); return err }
	decode := func() error { _, err := opened.Mono(t.Context(), 60); return err }
	spec := VideoSpec{Width: 320, Height: 320, FPS: 25, Frames: 100}
	dir := t.TempDir()
	encode := func() error {
		return WriteMP4(t.Context(), filepath.Join(dir, "x.mp4"), spec, produce(spec, spec.Frames, nil))
	}
	brief := func() error {
		spec := VideoSpec{Width: 32, Height: 32, FPS: 25, Frames: 2}
		return WriteMP4(t.Context(), filepath.Join(dir, "x.mp4"), spec, produce(spec, 2, nil))
	}
	for _, c := range []struct {
		name, tool, script string
		do                 func() error
		code, field        string
		again              bool
		mention            string
	}{
		{"probe hangs", "ffprobe", "exec sleep 600\n", probe, "media_stuck", "audio", true, "500ms"},
		{"decoder hangs", "ffmpeg", "exec sleep 600\n", decode, "media_stuck", "audio", true, "500ms"},
		{"encoder hangs", "ffmpeg", "exec sleep 600\n", encode, "encode_failed", "", true, "500ms"},
		{"encoder hangs at the end", "ffmpeg", "while read -r frames; do :; done\nexec sleep 600\n", brief, "encode_failed", "", true, "2.5s"},
		{"decoder writes a file", "ffmpeg", "exec head -c 100000000 /dev/zero > big\n", decode, "media_limit", "audio", false, "1 MiB"},
		{"decoder lacks memory", "ffmpeg", "echo 'x: Cannot allocate memory' >&2\nexit 1\n", decode, "media_limit", "audio", false, "1024 MiB"},
		{"disk full", "ffmpeg", "echo 'av_interleaved_write_frame(): No space left on device' >&2\nexit 1\n", encode, "encode_failed", "", true, "disk is full"},
		{"crash", "ffmpeg", "exit 139\n", decode, "audio_undecodable", "audio", false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake(t, c.tool, c.script)
			patience := time.Minute // the machine may be busy
			if strings.Contains(c.name, "hangs") {
				patience = 500 * time.Millisecond
			}
			Use(Config{Patience: patience})
			err := c.do()
			wantFault(t, err, c.code, c.field)
			if f := asFault(t, err); f.Retryable != c.again || !strings.Contains(f.Message, c.mention) {
				t.Errorf("retryable %v: %v", f.Retryable, err)
			}
			wantEmpty(t, dir)
		})
	}
	Use(Config{Patience: time.Minute})
	t.Run("cannot be started", func(t *testing.T) {
		fake(t, "ffmpeg", "")
		path, err := exec.LookPath("ffmpeg")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("\x7fELF, but not really"), 0o700); err != nil {
			t.Fatal(err)
		}
		err = decode()
		wantFault(t, err, "ffmpeg_unusable", "")
		if !asFault(t, err).Retryable {
			t.Errorf("not retryable: %v", err)
		}
	})
}

// Somebody kills the decoder, as the kernel does when memory runs out.
func TestKilledDecoder(t *testing.T) {
	fake(t, "ffprobe", "exec sleep 600\n")
	go func() {
		for range 1000 {
			time.Sleep(10 * time.Millisecond)
			if pid := childNamed("sleep"); pid != 0 {
				syscall.Kill(pid, syscall.SIGKILL) //nolint:errcheck // the test fails without it
				return
			}
		}
	}()
	_, err := DecodeAudio(t.Context(), write(t, "x.wav", wav(16000, 1, 16000, noise)), 60)
	wantFault(t, err, "media_killed", "audio")
	if !asFault(t, err).Retryable {
		t.Errorf("not retryable: %v", err)
	}
}

// childNamed is the process id of a child of this process; 0: there is none of the name.
func childNamed(name string) int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		var pid, parent int
		var command, state string
		if _, err := fmt.Sscan(string(stat), &pid, &command, &state, &parent); err == nil && parent == os.Getpid() && command == "("+name+")" {
			return pid
		}
	}
	return 0
}

// A picture whose decoder is too slow, and one whose sender has gone.
func TestDecodeImageEnds(t *testing.T) {
	Use(Config{Patience: time.Millisecond})
	t.Cleanup(func() { Use(Config{Patience: time.Minute}) })
	_, err := DecodeImage(t.Context(), "testdata/420.jpg")
	wantFault(t, err, "media_stuck", "images")
	reason := errors.New("job cancelled")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(reason)
	if _, err := DecodeImage(ctx, "testdata/420.jpg"); !errors.Is(err, context.Canceled) || !errors.Is(err, reason) {
		t.Errorf("error is %v", err)
	}
}
