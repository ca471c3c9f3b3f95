package inference

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/textcache"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// watched is an engine whose log counts the text encoder's sessions.
type watched struct {
	*Engine
	log *bytes.Buffer
}

func openWatched(t *testing.T, root, cache string) watched {
	t.Helper()
	log := &bytes.Buffer{}
	e, err := Open(Config{Weights: weights.Config{Root: root}, ORT: ort.Config{Library: os.Getenv("ONNXRUNTIME_LIB")},
		Cache: textcache.Config{Folder: cache, Megabytes: 1}}, zerolog.New(log))
	if err != nil {
		t.Fatal(err)
	}
	return watched{e, log}
}

func (w watched) close(t *testing.T) {
	t.Helper()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// textSessions is how many sessions of the text encoder were made since the last call.
func (w watched) textSessions() int {
	n := strings.Count(w.log.String(), `"model":"umt5`)
	w.log.Reset()
	return n
}

// text is the text encoder of the 1.7B.
func (w watched) text(t *testing.T) *TextEncoder {
	t.Helper()
	m, err := w.Models(Variant1B)
	if err != nil {
		t.Fatal(err)
	}
	return m.Text
}

// Two jobs and a restart with the same prompt need the text encoder once; the clips are the same to the bit, and the same
// as without any cache.
func TestKnownPromptNeedsNoTextEncoder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	s := spec(t)
	s.Steps, s.Frames = 1, 5
	run := func(e watched) []byte {
		t.Helper()
		clip, err := e.Generate(t.Context(), s, ignore)
		if err != nil {
			t.Fatal(err)
		}
		if n := e.textSessions(); n == 0 && clip.Timings[StageText] > 0.1 {
			t.Errorf("the text stage took %.3f s without a network", clip.Timings[StageText])
		} else if n > 0 {
			t.Logf("%d sessions of the text encoder, %.3f s", n, clip.Timings[StageText])
			return nil
		}
		data, err := os.ReadFile(clip.Path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	embed := func(e watched) []float32 {
		t.Helper()
		x, err := e.text(t).Encode(t.Context(), "prompt", s.Prompt)
		if err != nil {
			t.Fatal(err)
		}
		return x.Data
	}

	first := openWatched(t, goldenWeights, dir)
	if first.text(t).network != nil {
		t.Error("opening the models opened the text encoder")
	}
	if run(first) != nil {
		t.Fatal("the first job did not use the text encoder; this test sees nothing")
	}
	warm := run(first)
	if warm == nil {
		t.Error("the second job used the text encoder")
	}
	first.close(t)

	second := openWatched(t, goldenWeights, dir)
	if restarted := run(second); restarted == nil || !bytes.Equal(restarted, warm) {
		t.Errorf("after a restart the text encoder is used, or the clip differs")
	}
	if second.text(t).network != nil {
		t.Error("after a restart the text encoder was opened")
	}
	remembered := embed(second)
	second.close(t)

	none := openWatched(t, goldenWeights, "none")
	defer none.close(t)
	if computed := embed(none); !slices.Equal(computed, remembered) {
		t.Error("the embedding that is remembered is not the one that is computed")
	}
	if n := none.textSessions(); n == 0 {
		t.Error("without a cache nothing was computed")
	}
}

// An embedding is never used for other weights, another tokenizer, or another text.
func TestCacheBelongsToItsWeights(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache")
	encode := func(root, prompt string) (sessions int) {
		t.Helper()
		e := openWatched(t, root, cache)
		defer e.close(t)
		if _, err := e.text(t).Encode(t.Context(), "prompt", prompt); err != nil {
			t.Fatal(err)
		}
		return e.textSessions()
	}
	const prompt = "a woman speaks"
	if encode(goldenWeights, prompt) == 0 {
		t.Fatal("an empty cache was used")
	}
	if encode(goldenWeights, "  a woman   speaks ") > 0 {
		t.Error("a text that is the same when cleaned was encoded again")
	}
	if encode(goldenWeights, "a man speaks") == 0 {
		t.Error("another text was answered from the cache")
	}
	files, err := weights.Locate(goldenWeights).Require("1.7B")
	if err != nil {
		t.Fatal(err)
	}
	for _, changed := range []string{files.UMT5, files.Tokenizer} {
		root := t.TempDir()
		if err := os.CopyFS(root, os.DirFS(goldenWeights)); err != nil {
			t.Fatal(err)
		}
		below, err := filepath.Rel(weights.Locate(goldenWeights).Root, changed)
		if err != nil {
			t.Fatal(err)
		}
		alter(t, filepath.Join(root, below))
		if encode(root, prompt) == 0 {
			t.Errorf("the cache was used after %s changed", below)
		}
	}
}

// alter changes a weight, or a space of a JSON file.
func alter(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(file, ".json") {
		data = append(data, '\n')
	} else {
		data[(len(data)-printBlock)/(printBlocks-1)*(printBlocks/2)] ^= 1 // a place that the fingerprint sees
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A text encoder that cannot be used is reported before any network runs, and by Prepare where it preloads.
func TestBrokenTextEncoder(t *testing.T) {
	root := t.TempDir()
	if err := os.CopyFS(root, os.DirFS(goldenWeights)); err != nil {
		t.Fatal(err)
	}
	files, err := weights.Locate(root).Require("1.7B")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files.UMT5, []byte("this is no checkpoint"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := openWatched(t, root, "none")
	defer e.close(t)
	if _, err := e.Generate(t.Context(), spec(t), ignore); fault.CodeOf(err) != "checkpoint_malformed" {
		t.Errorf("got %v", err)
	}
	if strings.Contains(e.log.String(), `"session is ready"`) {
		t.Error("a network was made ready before")
	}
	e.ahead.on = true
	if err := e.Prepare(t.Context(), Variant1B); fault.CodeOf(err) != "checkpoint_malformed" {
		t.Errorf("Prepare: %v", err)
	}
	if err := os.Remove(files.UMT5); err != nil {
		t.Fatal(err)
	}
	other := &Engine{layout: weights.Locate(root), models: map[Variant]*Models{}}
	if _, err := other.Models(Variant1B); fault.CodeOf(err) != "missing_weights" {
		t.Errorf("a missing file: %v", err)
	}
}
