package inference

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/lora"
	"github.com/humo-worker/humo-worker/inference/nn"
)

// LoRA is a low-rank adapter of the transformer: a file of the LoRA folder, by its name.
type LoRA struct {
	Name     string  `json:"name"`
	Strength float64 `json:"strength"`
	SHA256   string  `json:"sha256,omitempty"` // of the file; the engine tells it, or refuses another file if it is given
}

// loraFiles are the adapters that lie in a folder.
type loraFiles struct {
	folder lora.Folder

	mu     sync.Mutex
	hashes map[string]hashed // by path
}

// hashed is a file's hash as long as its size and time of change stay.
type hashed struct {
	size, changed int64
	sha256        string
}

// findLoRAs gives the paths of a clip's adapters, in order. A fast clip without any gets the distilled one.
func (e *Engine) findLoRAs(s *Spec) ([]string, error) {
	if s.Quality == Fast && len(s.LoRAs) == 0 {
		name, err := e.loras.folder.Distilled()
		if err != nil {
			return nil, err
		}
		s.LoRAs = []LoRA{{Name: name, Strength: 1}}
	}
	paths := make([]string, len(s.LoRAs))
	for i, l := range s.LoRAs {
		path, err := e.loras.folder.Find(loraField(i), l.Name)
		if err != nil {
			return nil, err
		}
		paths[i] = path
	}
	return paths, nil
}

func loraField(i int) string { return fmt.Sprintf("loras[%d]", i) }

// adapt attaches a clip's adapters to a transformer of its own, which costs the reading of names: the one that other
// clips use stays as it is. It notes their hashes in the spec.
func (e *Engine) adapt(ctx context.Context, s *Spec, t *Transformer, paths []string) (*Transformer, error) {
	if len(paths) == 0 {
		return t, nil
	}
	adapted, _, err := newTransformer(t.site, t.ix)
	if err != nil {
		return nil, err
	}
	parts := nn.PartsOf(adapted.net)
	told := make([]LoRA, len(paths))
	for i, path := range paths {
		told[i] = s.LoRAs[i]
		file, err := lora.Open(loraField(i), path)
		if err != nil {
			return nil, err
		}
		unused, err := file.Attach(parts, told[i].Strength)
		if err != nil {
			return nil, err
		}
		e.note(path, unused)
		sum, err := e.loras.hash(ctx, path)
		if err != nil {
			return nil, err
		}
		if asked := told[i].SHA256; asked != "" && asked != sum {
			return nil, fault.New("lora_changed", loraField(i), "the file %q has the SHA-256 %s, not %s; put that file back, or leave sha256 out", told[i].Name, sum, asked)
		}
		told[i].SHA256 = sum
	}
	s.LoRAs = told
	return adapted, nil
}

// hash is the SHA-256 of a file, which is read once.
func (f *loraFiles) hash(ctx context.Context, path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close() //nolint:errcheck // only read from
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.hashes[path]
	if now := (hashed{info.Size(), info.ModTime().UnixNano(), known.sha256}); known == now {
		return known.sha256, nil
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, untilDone{ctx, file}); err != nil {
		return "", err
	}
	if f.hashes == nil {
		f.hashes = map[string]hashed{}
	}
	f.hashes[path] = hashed{info.Size(), info.ModTime().UnixNano(), hex.EncodeToString(sum.Sum(nil))}
	return f.hashes[path].sha256, nil
}

// untilDone reads until its context ends.
type untilDone struct {
	context.Context
	io.Reader
}

func (r untilDone) Read(p []byte) (int, error) {
	if r.Err() != nil {
		return 0, context.Cause(r.Context)
	}
	return r.Reader.Read(p)
}
