package inference

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
)

// Identity says what makes the clips of a variant, besides their specs.
type Identity struct {
	ONNXRuntime string        `json:"onnxruntime"` // version
	Weights     []WeightsFile `json:"weights"`
	Machine     Machine       `json:"machine"`
}

// WeightsFile is a file with weights, or one that is needed to read them.
type WeightsFile struct {
	Path        string `json:"path"` // below the weights folder, or its name if it lies elsewhere
	Bytes       int64  `json:"bytes"`
	Fingerprint string `json:"fingerprint"`
}

// Machine is the hardware that computes.
type Machine struct {
	Platform string `json:"platform"` // such as linux/amd64
	CPU      string `json:"cpu,omitempty"`
	Cores    int    `json:"cores"`              // that the process may use
	Device   string `json:"device"`             // what runs the networks: CPU, or the names of the cards
	Provider string `json:"provider,omitempty"` // of ONNX Runtime: CPU or CUDA
	DType    DType  `json:"dtype,omitempty"`    // in which the transformer computes
	Driver   string `json:"driver,omitempty"`   // the cards' driver
}

// Identify tells what makes the clips of a variant. The weights must be there. Files are looked into once, and again only
// when their size or time of change is another.
func (e *Engine) Identify(ctx context.Context, v Variant) (*Identity, error) {
	m, err := e.Models(v)
	if err != nil {
		return nil, err
	}
	f := m.Files
	files := []string{f.VAE, f.UMT5, f.Tokenizer, f.Whisper, f.WhisperConfig}
	ix, err := checkpoint.Open(f.DiT)
	if err != nil {
		return nil, err
	}
	files = append(files, f.DiT)
	if itself, err := filepath.EvalSymlinks(f.DiT); err != nil || !slices.Contains(ix.Files, itself) {
		files = append(files, ix.Files...) // the shards of an index
	}
	slices.Sort(files)
	id := &Identity{ONNXRuntime: e.rt.Version(), Machine: e.Machine()}
	for _, file := range files {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		w, err := e.prints.of(file)
		if err != nil {
			return nil, err
		}
		w.Path = filepath.Base(file)
		if below, err := filepath.Rel(e.layout.Root, file); err == nil && filepath.IsLocal(below) {
			w.Path = filepath.ToSlash(below)
		}
		id.Weights = append(id.Weights, w)
	}
	return id, nil
}

// fingerprints are those of files that have been looked into.
type fingerprints struct {
	mu    sync.Mutex
	known map[string]fingerprinted
}

type fingerprinted struct {
	size, changed int64
	print         string
}

func (p *fingerprints) of(file string) (WeightsFile, error) {
	info, err := os.Stat(file)
	if err != nil {
		return WeightsFile{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := fingerprinted{size: info.Size(), changed: info.ModTime().UnixNano()}
	known := p.known[file]
	now.print = known.print
	if known != now || now.print == "" {
		if now.print, err = Fingerprint(file); err != nil {
			return WeightsFile{}, err
		}
		if p.known == nil {
			p.known = map[string]fingerprinted{}
		}
		p.known[file] = now
	}
	return WeightsFile{Bytes: now.size, Fingerprint: now.print}, nil
}

// A fingerprint is made of so many blocks of a file.
const (
	printBlocks = 64
	printBlock  = 4096
)

// Fingerprint tells files of weights apart without reading gigabytes: the first 16 bytes, in hex, of the SHA-256 of the
// file's size (8 bytes, little endian) and of 64 blocks of 4096 bytes that begin at equal distances, the first at the
// start and the last at the end; of a file of up to 64 blocks, of its size and all of it. It is no checksum: a file that is
// damaged between the blocks has the same one.
func Fingerprint(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // only read from
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	sum.Write(binary.LittleEndian.AppendUint64(nil, uint64(size)))
	if size <= printBlocks*printBlock {
		if _, err := io.Copy(sum, io.NewSectionReader(f, 0, size)); err != nil {
			return "", err
		}
	} else {
		last := size - printBlock
		for i := range int64(printBlocks) {
			at := last / (printBlocks - 1) * i
			if i == printBlocks-1 {
				at = last
			}
			if _, err := io.Copy(sum, io.NewSectionReader(f, at, printBlock)); err != nil {
				return "", err
			}
		}
	}
	return hex.EncodeToString(sum.Sum(nil)[:16]), nil
}

// Host is the machine without its cards.
func Host() Machine {
	return Machine{Platform: runtime.GOOS + "/" + runtime.GOARCH, CPU: cpuModel(), Cores: runtime.GOMAXPROCS(0), Device: "CPU"}
}

// cpuModel is the processor's name where the system tells it.
func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer f.Close() //nolint:errcheck // only read from
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
