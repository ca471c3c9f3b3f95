// Package lora attaches low-rank adapters (Hu et al. 2022) to a loaded network: it finds the safetensors file, reads the
// key styles that trainers write (kohya, peft, diffusers, lightx2v) and puts every entry beside the layer that it names.
// Nothing is copied: the network's own weights and the adapter's stay in their files.
//
// It must not know which network it is: layers are found by their names in the checkpoint.
package lora

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// Config says where adapters lie.
type Config struct {
	// Dir is the folder with the files that jobs may name. Empty: loras in the weights folder.
	Dir string `env:"HUMO_LORAS"`

	// Fast is the file in Dir that quality "fast" takes where a job names no adapter. Empty: the first of the published
	// ones that is there.
	Fast string `env:"HUMO_FAST_LORA"`
}

// extension is that of the one format that is read: pickles are not, whatever is in them.
const extension = ".safetensors"

// distilled are the published files of lightx2v's adapter for few steps without guidance: its own, and a common copy.
var distilled = []string{
	"Wan21_I2V_14B_lightx2v_cfg_step_distill_lora_rank64" + extension,
	"lightx2v_I2V_14B_480p_cfg_step_distill_rank64_bf16" + extension,
}

// Validate refuses settings that can never be right. A folder that does not exist yet is no error here.
func (c Config) Validate() error {
	if st, err := os.Stat(c.Dir); c.Dir != "" && err == nil && !st.IsDir() {
		return fault.New("invalid_setting", "HUMO_LORAS", "%s is not a folder; name the folder that holds the LoRA files", c.Dir)
	}
	if problem := NameProblem(c.Fast); c.Fast != "" && problem != "" {
		return fault.New("invalid_setting", "HUMO_FAST_LORA", "%.80q %s", c.Fast, problem)
	}
	return nil
}

// MaxName bounds a file's name, in bytes.
const MaxName = 255

// NamePattern is what a name looks like, as a pattern of JSON Schema.
const NamePattern = `^[^./\\:\x00-\x1f\x7f][^/\\:\x00-\x1f\x7f]*\.safetensors$`

// NameProblem says what is wrong with the name of an adapter, or nothing. A name is that of a file, never a path: so
// whatever a job asks for lies in the one folder that its owner has filled.
func NameProblem(name string) string {
	const cure = "; name a " + extension + " file of the endpoint's LoRA folder, without a path"
	stem, right := strings.CutSuffix(name, extension)
	switch {
	case len(name) > MaxName:
		return "is too long" + cure
	case !right || stem == "":
		return "does not end in " + extension + cure
	case strings.HasPrefix(name, ".") || strings.ContainsAny(name, `/\:`) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "is no plain file name" + cure
	}
	return ""
}

// Folder is where adapters lie.
type Folder struct{ dir, fast string }

// Folder is the folder to use, by default the one below the weights.
func (c Config) Folder(weights string) Folder {
	if c.Dir == "" {
		return Folder{filepath.Join(weights, "loras"), c.Fast}
	}
	if abs, err := filepath.Abs(c.Dir); err == nil {
		return Folder{abs, c.Fast}
	}
	return Folder{c.Dir, c.Fast}
}

// Find is the path of a file in the folder. field is the name of the request's field, for the fault.
func (f Folder) Find(field, name string) (string, error) {
	if problem := NameProblem(name); problem != "" {
		return "", fault.New("lora_name", field, "%.80q %s", name, problem)
	}
	path := filepath.Join(f.dir, name)
	if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() {
		return "", fault.New("lora_not_found", field, "%q is not in the LoRA folder %s; put it there, or name one that is: %s", name, f.dir, f.listing()).Because(err)
	}
	return path, nil
}

// Distilled is the name of the adapter for quality "fast".
func (f Folder) Distilled() (string, error) {
	names := distilled
	if f.fast != "" {
		names = []string{f.fast}
	}
	for _, name := range names {
		if st, err := os.Stat(filepath.Join(f.dir, name)); err == nil && st.Mode().IsRegular() {
			return name, nil
		}
	}
	return "", fault.New("lora_not_found", "quality", `"fast" needs a step-distilled LoRA: put %s into %s (or set HUMO_FAST_LORA to another file there), name one in loras, or use quality "exact"`,
		strings.Join(names, " or "), f.dir)
}

// listed is how many names a message lists.
const listed = 10

// Names are those of the adapters that jobs may name, sorted. A folder that does not exist holds none.
func (f Folder) Names() ([]string, error) {
	entries, err := os.ReadDir(f.dir)
	var names []string
	for _, e := range entries {
		if NameProblem(e.Name()) == "" {
			names = append(names, e.Name())
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return names, err
}

func (f Folder) listing() string {
	names, err := f.Names()
	switch {
	case err != nil:
		return "the folder cannot be read"
	case len(names) == 0:
		return "the folder holds none"
	case len(names) > listed:
		names = append(slices.Clip(names[:listed]), "…")
	}
	return strings.Join(names, ", ")
}
