package pull

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/humo-worker/humo-worker/inference/weights"
)

// recordName is the file that lists what pulls put in place: the digests that the table of published files does not have.
const recordName = "weights.json"

const recordFormat = "humo-worker pulled weights"

// entry is one file of the record.
type entry struct {
	Path     string `json:"path"`
	Repo     string `json:"repo"`
	Revision string `json:"revision"`
	Bytes    int64  `json:"bytes"`
	SHA256   string `json:"sha256"`
}

type record struct {
	layout weights.Layout

	mu      sync.Mutex
	entries map[string]entry // by path
}

type recordDoc struct {
	Format string  `json:"format"`
	Files  []entry `json:"files"`
}

// readRecord reads the record of a folder. One that is missing or makes no sense is empty: then files are hashed again.
func readRecord(l weights.Layout) *record {
	r := &record{layout: l, entries: map[string]entry{}}
	b, err := os.ReadFile(l.Path(recordName))
	var doc recordDoc
	if err != nil || json.Unmarshal(b, &doc) != nil || doc.Format != recordFormat {
		return r
	}
	for _, e := range doc.Files {
		r.entries[e.Path] = e
	}
	return r
}

// of returns the entry of a file at its pinned revision.
func (r *record) of(f weights.File) (entry, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.entries[f.Path]
	return e, ok && e.Repo == f.Repo && e.Revision == f.Revision && strings.HasPrefix(e.SHA256, f.SHA256)
}

// add adds an entry and saves the record, so that whatever ends the pull finds it true.
func (r *record) add(f weights.File, bytes int64, sum string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := entry{f.Path, f.Repo, f.Revision, bytes, sum}
	if r.entries[f.Path] == e {
		return nil
	}
	r.entries[f.Path] = e
	doc := recordDoc{Format: recordFormat}
	for _, e := range r.entries {
		doc.Files = append(doc.Files, e)
	}
	slices.SortFunc(doc.Files, func(a, b entry) int { return strings.Compare(a.Path, b.Path) })
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	name := r.layout.Path(recordName)
	if err := os.WriteFile(name+incomplete, append(b, '\n'), 0o644); err != nil {
		return cannotWrite(name, err)
	}
	if err := os.Rename(name+incomplete, name); err != nil {
		return cannotWrite(name, err)
	}
	return nil
}

func removeIfThere(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return cannotWrite(name, err)
	}
	return nil
}
