package checkpoint

import (
	"bytes"
	"encoding/binary"
	"maps"
	"path/filepath"
	"slices"
)

// Index lists what one checkpoint holds.
type Index struct {
	Path    string   // the file that was opened, absolute, symbolic links kept
	Files   []string // the files with the tensors' data, absolute, symbolic links resolved
	Tensors map[string]*Tensor
	Other   map[string]any // leaves of a torch file that are no tensors; see Open

	wrapper string // what the names of all tensors start with if they lie in one nested dict, e.g. "state_dict."
}

// Names returns the names of the tensors, sorted.
func (ix *Index) Names() []string { return slices.Sorted(maps.Keys(ix.Tensors)) }

// Lookup returns the tensor of that name, or nil. If all tensors of a torch file lie in one nested dict, as in
// {"state_dict": …, "epoch": …}, the name may leave out that dict's: training programs wrap a model so, and a model
// knows only its own names.
func (ix *Index) Lookup(name string) *Tensor {
	if t := ix.Tensors[name]; t != nil {
		return t
	}
	return ix.Tensors[ix.wrapper+name]
}

// Open lists the tensors of a checkpoint without reading their data. The format is picked by content, never by name:
// a safetensors file, a safetensors index (the shards lie beside it), or a torch file in its zip or its legacy layout.
//
// In a torch file the keys of nested dicts are joined with "."; a bare tensor has the name "". Other holds the rest
// under the same names, as int64 (*big.Int beyond), float64, string, bool, nil, []any for lists and tuples,
// map[string]any for dicts inside those, and *Tensor for tensors inside those.
//
// Every error is a *fault.Error with one of this package's codes.
func Open(path string) (*Index, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, notOpened(path, err)
	}
	f, done, err := openFile(abs)
	if err != nil {
		return nil, err
	}
	defer done()
	ix, err := openIndex(f, abs)
	return ix, inFile(abs, err)
}

func openIndex(f *file, path string) (*Index, error) {
	ix := &Index{Path: path, Files: []string{f.path}}
	kind, err := sniff(f)
	if err != nil {
		return nil, err
	}
	switch kind {
	case formatSafetensors:
		ix.Tensors, err = readSafetensors(f)
	case formatShards:
		// The shards lie beside the index as it was named: in a content-addressed cache the index is a link, and
		// the folder that it points into holds no shard by its name.
		ix.Tensors, ix.Files, err = readShards(f, filepath.Dir(path))
	case formatTorchZip:
		err = readTorchZip(f, ix)
	case formatTorchLegacy:
		err = readTorchLegacy(f, ix)
	}
	if err != nil {
		return nil, err
	}
	return ix, nil
}

type format uint8

const (
	formatSafetensors format = iota
	formatShards
	formatTorchZip
	formatTorchLegacy
)

// sniff tells the formats apart by their first bytes.
func sniff(f *file) (format, error) {
	head, err := f.bytesAt(0, min(f.size, 64), "the first bytes")
	if err != nil {
		return 0, err
	}
	text := bytes.TrimLeft(head, " \t\r\n")
	switch {
	case len(head) < 9:
		return 0, truncated("the file has %d bytes, too few for any checkpoint", f.size)
	// First, because a header length may look like the start of a pickle. It is below 2^40 in any file that can exist.
	case head[8] == '{' && binary.LittleEndian.Uint64(head)>>40 == 0:
		return formatSafetensors, nil
	case string(head[:4]) == "PK\x03\x04":
		return formatTorchZip, nil
	case head[0] == opProto:
		return formatTorchLegacy, nil
	case len(text) > 0 && text[0] == '{':
		return formatShards, nil
	}
	return 0, malformed("the file starts like neither safetensors, nor a safetensors index, nor a torch file")
}
