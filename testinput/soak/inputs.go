package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// inputs are the files that jobs name: in the input root, in the job itself, and on a server.
type inputs struct {
	root   string // HUMO_INPUT_ROOT
	url    string // of the server
	voices []any
	short  any // a voice of shortFrames at 25 frames a second
	photos []any
}

// shortFrames is what "auto" makes of 0.24 seconds.
const shortFrames = 5

// makeInputs writes the files. voice is a sound file that the others are made of.
func makeInputs(t testing.TB, voice string) *inputs {
	t.Helper()
	in := &inputs{root: t.TempDir()}
	for name, args := range map[string][]string{
		"voice.wav": {"-t", "1.2"}, "short.wav": {"-t", "0.24"}, "voice.mp3": {"-t", "1"}, "voice.ogg": {"-t", "0.8", "-c:a", "libvorbis"},
		"voice.m4a": {"-t", "1", "-ac", "2"}, "voice.flac": {"-t", "0.7"},
	} {
		command := append([]string{"-nostdin", "-loglevel", "error", "-i", voice}, append(args, filepath.Join(in.root, name))...)
		if out, err := exec.CommandContext(t.Context(), "ffmpeg", command...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	in.write(t, "person.png", func(b *bytes.Buffer, p image.Image) error { return png.Encode(b, p) })
	in.write(t, "person.jpg", func(b *bytes.Buffer, p image.Image) error { return jpeg.Encode(b, p, nil) })
	files := http.FileServer(http.Dir(in.root))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/round" { // and round
			http.Redirect(w, r, "/round", http.StatusFound)
			return
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	in.url = server.URL

	in.short = "volume:short.wav"
	in.voices = []any{"volume:voice.wav", "volume:voice.ogg", in.url + "/voice.mp3", in.url + "/voice.m4a", in.data(t, "audio/flac", "voice.flac"),
		input{"data": in.base64(t, "voice.ogg"), "type": "audio/ogg"}}
	in.photos = []any{"volume:person.png", in.url + "/person.jpg", in.data(t, "image/jpeg", "person.jpg"), input{"data": in.base64(t, "person.png")}}
	return in
}

func (in *inputs) voice(r *rand.Rand) any   { return in.voices[r.IntN(len(in.voices))] }
func (in *inputs) picture(r *rand.Rand) any { return in.photos[r.IntN(len(in.photos))] }

// write draws a small picture.
func (in *inputs) write(t testing.TB, name string, encode func(*bytes.Buffer, image.Image) error) {
	t.Helper()
	p := image.NewRGBA(image.Rect(0, 0, 120, 90))
	for i := range 120 * 90 {
		x, y := i%120, i/120
		p.Set(x, y, color.RGBA{uint8(2 * x), uint8(2 * y), uint8(x ^ y), 255})
	}
	var b bytes.Buffer
	if err := encode(&b, p); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(in.root, name), b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (in *inputs) base64(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(in.root, name))
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(data)
}

func (in *inputs) data(t testing.TB, kind, name string) string {
	t.Helper()
	return fmt.Sprintf("data:%s;base64,%s", kind, in.base64(t, name))
}
