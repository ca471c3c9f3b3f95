package weights

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
)

// part is one file of a checkpoint set to be written.
type part struct {
	path  string // below the root, with slashes
	write func(io.Writer) error
}

// parts composes a checkpoint set of the given sizes in the published layout, every file in its published format.
func parts(d Dims) ([]part, error) {
	var list []part
	var failed error
	add := func(path string, write func(io.Writer) error) { list = append(list, part{path, write}) }
	text := func(path string, b []byte, err error) {
		if err != nil && failed == nil {
			failed = err
		}
		add(path, func(w io.Writer) error { _, err := w.Write(b); return err })
	}
	if d.DiT1B != nil {
		add(pathDiT1B, torchZip{stem: "archive", modern: true, tensors: ditTensors(*d.DiT1B, checkpoint.F32)}.writeTo)
	}
	if d.DiT17B != nil {
		names, cut, index, err := shards(ditTensors(*d.DiT17B, checkpoint.BF16), d.DiT17B.Shards)
		for i, name := range names {
			add(path.Join(path.Dir(pathDiT17B), name), func(w io.Writer) error { return writeSafetensors(w, cut[i]) })
		}
		text(pathDiT17B, index, err)
	}
	if d.VAE != nil {
		add(pathVAE, torchLegacy{location: "cuda:0", tensors: vaeTensors(*d.VAE)}.writeTo)
	}
	if d.UMT5 != nil {
		stem := "models_t5_umt5-xxl-enc-bf16"
		add(pathUMT5, torchZip{stem: stem, modules: umt5Modules(*d.UMT5), tensors: umt5Tensors(*d.UMT5)}.writeTo)
		vocabulary := pieces()
		b, err := tokenizerJSON(vocabulary)
		text(pathTokenizer, b, err)
		b, err = tokenizerConfig(vocabulary)
		text(pathTokenizerConfig, b, err)
		b, err = specialTokens()
		text(pathSpecialTokens, b, err)
		text(pathSentencePiece, sentencePiece(vocabulary), nil)
	}
	if d.Whisper != nil {
		add(pathWhisper, func(w io.Writer) error { return writeSafetensors(w, whisperTensors(*d.Whisper)) })
		b, err := whisperConfig(*d.Whisper)
		text(pathWhisperConfig, b, err)
		b, err = whisperFeatures(*d.Whisper)
		text(pathFeatures, b, err)
	}
	if d.PassThrough {
		b, err := passThrough()
		text(pathSeparator, b, err)
	}
	return list, failed
}

// partial ends the name of a file that is being written. Weights are mapped while they are used, and a mapped file that
// shrinks kills the process, so a file only ever appears whole, by renaming.
const partial = ".partial"

// put writes one part below dir. It returns the size and, if asked for, the SHA-256.
func (p part) put(dir string, digest bool) (size int64, sum string, err error) {
	name := filepath.Join(dir, filepath.FromSlash(p.path))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return 0, "", err
	}
	f, err := os.OpenFile(name+partial, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, "", err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(name + partial)
		}
	}()
	h := sha256.New()
	w := io.Writer(f)
	if digest {
		w = io.MultiWriter(f, h)
	}
	if err := p.write(w); err != nil {
		return 0, "", err
	}
	st, err := f.Stat()
	if err != nil {
		return 0, "", err
	}
	if err := f.Close(); err != nil {
		return 0, "", err
	}
	return st.Size(), hex.EncodeToString(h.Sum(nil)), os.Rename(name+partial, name)
}
