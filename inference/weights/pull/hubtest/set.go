package hubtest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/humo-worker/humo-worker/inference/weights"
)

// Rows are those of the table of published files that lie in a folder in the published layout, with the sizes and the
// digests that they have there, as far as the table knows them of the published ones.
func Rows(dir, variant string, separator bool) ([]weights.File, error) {
	wanted, err := weights.Wanted(variant, separator)
	if err != nil {
		return nil, err
	}
	var rows []weights.File
	for _, f := range wanted {
		content, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(f.Path)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(content)
		if f.Bytes > 0 {
			f.Bytes = int64(len(content))
		}
		f.SHA256 = hex.EncodeToString(sum[:])[:len(f.SHA256)]
		rows = append(rows, f)
	}
	return rows, nil
}

// AddFolder puts what lies in a folder in the published layout into its repositories, shards included, and returns the rows
// of all variants.
func (h *Hub) AddFolder(dir string) ([]weights.File, error) {
	rows, err := Rows(dir, "all", true)
	if err != nil {
		return nil, err
	}
	all := rows
	for _, f := range rows {
		if f.Sharded {
			shards, err := f.Shards(filepath.Join(dir, filepath.FromSlash(f.Path)))
			if err != nil {
				return nil, err
			}
			all = append(all[:len(all):len(all)], shards...)
		}
	}
	for _, f := range all {
		content, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(f.Path)))
		if err != nil {
			return nil, err
		}
		h.Add(f.Repo, f.Revision, f.Source, content)
	}
	return rows, nil
}
