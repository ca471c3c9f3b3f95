package media

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An encoder that ends well but wrote nothing, or half: the caller does not get its file.
func TestWriteMP4OfALyingEncoder(t *testing.T) {
	good, spec := filepath.Join(t.TempDir(), "real.mp4"), VideoSpec{Width: 32, Height: 32, FPS: 25, Frames: 3}
	if err := WriteMP4(t.Context(), good, spec, produce(spec, 3, nil)); err != nil {
		t.Fatal(err)
	}
	data := string(mustRead(t, good))
	moov, mdat := strings.Index(data, "moov")-4, strings.Index(data, "mdat")-4
	for name, content := range map[string]string{"nothing": "", "text": "this is no video", "cut": data[:len(data)-10], "no index": data[:moov] + data[mdat:], "no data": data[:mdat]} {
		t.Run(name, func(t *testing.T) {
			dir, out := t.TempDir(), t.TempDir()
			// The last argument is "file:" and the name.
			script := "#!/bin/sh\nwhile read -r frames; do :; done\nfor last; do :; done\nexec /bin/cp " + filepath.Join(dir, "..", "lib", "content") + " \"${last#file:}\"\n"
			if err := os.MkdirAll(filepath.Join(dir, "..", "lib"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "..", "lib", "content"), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "ffmpeg"), []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
			sent := 0
			err := WriteMP4(t.Context(), filepath.Join(out, "out.mp4"), spec, func() ([]byte, error) {
				if sent++; sent > 3 {
					return nil, io.EOF
				}
				return make([]byte, 32*32*3), nil
			})
			wantFault(t, err, "encode_failed", "")
			if !asFault(t, err).Retryable {
				t.Errorf("no second chance: %v", err)
			}
			wantEmpty(t, out)
		})
	}
}
