package weights

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/gofrs/flock"
)

// demoVersion names the demo bundle's contents. Raise it whenever they change (TestDemoBytes notices), so that an older
// bundle is written anew.
const demoVersion = 2

const (
	demoManifest = "demo.json"    // written last: the bundle is complete
	demoMarker   = "demo.writing" // there while a bundle is being written, or after that was cut short
)

// manifest lists the files of a complete demo bundle.
type manifest struct {
	Format  string         `json:"format"`
	Version int            `json:"version"`
	Files   []manifestFile `json:"files"`
}

type manifestFile struct {
	Path   string `json:"path"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

const demoFormat = "humo-worker demo weights"

// WriteDemo writes the demo bundle below dir: a tiny random checkpoint set in exactly the published layout and formats,
// the same bytes on every machine. A complete bundle is checked and left as it is; an interrupted or damaged one is
// written anew. It never writes over published files that it did not write itself.
//
// The two zero_vae files are not part of it: the engine computes what they hold.
func WriteDemo(dir string) error {
	l := Locate(dir)
	list, err := parts(DemoDims())
	if err != nil {
		return err
	}
	list = append(list, part{"README.txt", func(w io.Writer) error { _, err := io.WriteString(w, demoReadme); return err }})
	if l.demoComplete(list) {
		return nil
	}
	if found := l.holdsPublished(); found != "" && !l.IsDemo() {
		return wouldReplace("demo bundle", l, found)
	}
	if err := os.MkdirAll(l.Root, 0o755); err != nil {
		return fmt.Errorf("write the demo bundle: %w", err)
	}
	lock := flock.New(l.Path(demoMarker)) // creates the marker; two processes write one after the other
	if err := lock.Lock(); err != nil {
		return fmt.Errorf("write the demo bundle: %w", err)
	}
	defer func() { _ = lock.Unlock() }()
	if !l.demoComplete(list) {
		if err := l.putDemo(list); err != nil {
			return fmt.Errorf("write the demo bundle to %s: %w", l.Root, err)
		}
	}
	if err := os.Remove(l.Path(demoMarker)); err != nil && !os.IsNotExist(err) { // gone: another writer was as far
		return err
	}
	return nil
}

// putDemo writes all parts and, last, the manifest.
func (l Layout) putDemo(list []part) error {
	if err := os.Remove(l.Path(demoManifest)); err != nil && !os.IsNotExist(err) {
		return err
	}
	m := manifest{Format: demoFormat, Version: demoVersion}
	for _, p := range list {
		size, sum, err := p.put(l.Root, true)
		if err != nil {
			return err
		}
		m.Files = append(m.Files, manifestFile{p.path, size, sum})
	}
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	last := part{demoManifest, func(w io.Writer) error { _, err := w.Write(append(b, '\n')); return err }}
	_, _, err = last.put(l.Root, false)
	return err
}

// demoComplete reports whether dir holds this version's bundle with every byte as it was written.
func (l Layout) demoComplete(list []part) bool {
	var m manifest
	if err := readJSON(l.Path(demoManifest), &m); err != nil {
		return false
	}
	if m.Format != demoFormat || m.Version != demoVersion || len(m.Files) != len(list) {
		return false
	}
	for i, f := range m.Files {
		if f.Path != list[i].path || !sameFile(l.Path(f.Path), f) {
			return false
		}
	}
	return true
}

func sameFile(name string, want manifestFile) bool {
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	if st, err := f.Stat(); err != nil || st.Size() != want.Bytes {
		return false
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	return err == nil && hex.EncodeToString(h.Sum(nil)) == want.SHA256
}

// IsDemo reports whether the folder holds a demo bundle, complete or not. Real weights must not be mixed into it.
func (l Layout) IsDemo() bool {
	for _, name := range []string{demoManifest, demoMarker} {
		if st, err := os.Lstat(l.Path(name)); err == nil && st.Mode().IsRegular() {
			return true
		}
	}
	return false
}

const demoReadme = `Demo weights

A tiny, random stand-in for HuMo's weights, written by "humo-worker weights demo". The files have the names, layout and
encodings of the published ones, so every part of the worker runs on them in seconds; the pictures are abstract. Nothing
here is a published weight, and the same bytes come out on every machine.

HuMo/HuMo-1.7B/ema.pth                     diffusion transformer, 1.7B: torch zip, F32 (and two unknown keys, as published)
HuMo/HuMo-17B/*                            diffusion transformer, 17B: sharded safetensors, BF16
Wan2.1-T2V-1.3B/Wan2.1_VAE.pth             video autoencoder: torch's legacy layout, F32
Wan2.1-T2V-1.3B/models_t5_*.pth            text encoder: torch zip, BF16
Wan2.1-T2V-1.3B/google/umt5-xxl/*          tokenizer: a small vocabulary of English and of the default negative prompt
whisper-large-v3/*                         audio encoder: safetensors, F16
audio_separator/Kim_Vocal_2.onnx           vocal separator: ONNX; it takes everything for a voice and passes the sound through

Not included: HuMo/zero_vae_129frame.pt and HuMo/zero_vae_720p_161frame.pt, which the worker computes where it needs them.

demo.json lists every file with its SHA-256. Running the command again repairs a damaged bundle. For real videos fetch the
real weights: humo-worker weights pull --variant 1.7B --dir DIR
`
