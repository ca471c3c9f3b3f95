// Package weights knows the published weight files: where each lies below one root folder, what it is for, where it
// comes from, and what to do when it is missing. It also writes two stand-ins in exactly the published formats: a tiny
// deterministic demo bundle, and checkpoints of any size for measurements.
//
// It must not know what a network computes, and it reads no tensor data.
package weights

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// Layout is the published layout below a root folder.
type Layout struct {
	Root string
}

// Locate returns the layout below root. It looks at nothing; Require does.
func Locate(root string) Layout {
	if abs, err := filepath.Abs(root); err == nil {
		root = abs
	}
	return Layout{Root: root}
}

// Path is where the published file with that path (slashes, below the root) is expected.
func (l Layout) Path(published string) string {
	return filepath.Join(l.Root, filepath.FromSlash(published))
}

// Files are the concrete paths of the files that one variant needs. All of them exist.
type Files struct {
	DiT           string   // ema.pth, or the index of the 17B's shards
	VAE           string   //
	UMT5          string   // the text encoder
	Tokenizer     string   // tokenizer.json
	Whisper       string   // model.safetensors
	WhisperConfig string   // config.json, for WhisperHeads
	ZeroVAE       []string // 17B: those of the two encoded mid-grey clips that exist
	Demo          bool     // the set is the demo bundle
}

// Require returns the files that variant ("1.7B" or "17B") needs, or one fault that lists all that are missing: which,
// where each is expected, and the commands that fetch them. The fault's code is "missing_weights".
func (l Layout) Require(variant string) (*Files, error) {
	if variant != variant1B && variant != variant17B {
		return nil, fault.New("unknown_variant", "variant", "%q is no published variant; use %s or %s", variant, variant1B, variant17B)
	}
	out := &Files{
		DiT: l.Path(pathDiT1B), VAE: l.Path(pathVAE), UMT5: l.Path(pathUMT5), Tokenizer: l.Path(pathTokenizer),
		Whisper: l.Path(pathWhisper), WhisperConfig: l.Path(pathWhisperConfig), Demo: l.IsDemo(),
	}
	if variant == variant17B {
		out.DiT = l.Path(pathDiT17B)
	}
	var missing []problem
	for _, f := range published {
		if f.Need == Unread || f.Need == OnDemand || f.Variant != "" && f.Variant != variant {
			continue
		}
		where := l.Path(f.Path)
		what := inspect(where)
		switch {
		case f.Need == Optional:
			if what == "" {
				out.ZeroVAE = append(out.ZeroVAE, where)
			}
		case what != "":
			missing = append(missing, problem{f, where, what})
		case f.Sharded:
			shards, err := shardsOf(where)
			if err != nil {
				return nil, err
			}
			for _, s := range shards {
				shard := File{Path: path.Join(path.Dir(f.Path), s), Purpose: "a shard of the diffusion transformer"}
				if what := inspect(l.Path(shard.Path)); what != "" {
					missing = append(missing, problem{shard, l.Path(shard.Path), what})
				}
			}
		}
	}
	if len(missing) > 0 {
		return nil, l.missing(variant, missing)
	}
	return out, nil
}

// Separator returns the vocal separator's file, which jobs need that ask for isolated vocals. It is looked for anew each
// time, so that it may be fetched while the worker runs. The fault's code is "missing_weights".
func (l Layout) Separator(variant string) (string, error) {
	where := l.Path(pathSeparator)
	if what := inspect(where); what != "" {
		return "", l.missingSeparator(variant, what)
	}
	return where, nil
}

// inspect says in a word what keeps a file from being used; empty if nothing does.
func inspect(name string) string {
	st, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "missing"
	case err != nil:
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return "unreadable: " + err.Error()
	case st.IsDir():
		return "a folder, not a file"
	case !st.Mode().IsRegular():
		return "not a regular file"
	case st.Size() == 0:
		return "empty"
	}
	return ""
}

// shardsOf returns the distinct file names of an index's weight_map, sorted. They may not lead out of its folder.
func shardsOf(index string) ([]string, error) {
	var doc struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	bad := fault.New("bad_weights", pathDiT17B, "%s is no index of safetensors shards; fetch it again", index)
	if err := readJSON(index, &doc); err != nil {
		return nil, bad.Because(err)
	}
	if len(doc.WeightMap) == 0 {
		return nil, bad.Because(errors.New("weight_map is missing or empty"))
	}
	names := map[string]bool{}
	for _, s := range doc.WeightMap {
		if s == "" || !filepath.IsLocal(s) {
			return nil, bad.Because(fmt.Errorf("shard name %q leaves the folder", s))
		}
		names[s] = true
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// WhisperHeads reads encoder_attention_heads, the one size of the audio encoder that no tensor's shape tells.
func (f *Files) WhisperHeads() (int, error) {
	var doc struct {
		Heads int `json:"encoder_attention_heads"`
	}
	if err := readJSON(f.WhisperConfig, &doc); err != nil {
		return 0, fault.New("bad_weights", pathWhisperConfig, "%s is not readable JSON; fetch it again", f.WhisperConfig).Because(err)
	}
	if doc.Heads < 1 || doc.Heads > 1024 {
		return 0, fault.New("bad_weights", pathWhisperConfig, "%s: encoder_attention_heads is %d, not in 1..1024; fetch it again",
			f.WhisperConfig, doc.Heads)
	}
	return doc.Heads, nil
}

// readJSON reads a small JSON file; foreign bytes, so with a limit.
func readJSON(name string, v any) error {
	const limit = 64 << 20
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return json.NewDecoder(io.LimitReader(f, limit)).Decode(v)
}
