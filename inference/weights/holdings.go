package weights

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
)

// Holding is what lies where a file of the published layout is expected.
type Holding struct {
	File       File
	Problem    string // why it cannot be used; empty: nothing is wrong as far as reading no tensor's data shows
	Bytes      int64  // an index: with its shards
	Link       string // where the file lies if it is a link
	Shards     int
	DTypes     []string // of its tensors, the one with most bytes first; empty: no checkpoint
	Tensors    int
	Parameters int64
}

// Holdings looks at every place of the layout.
func (l Layout) Holdings() []Holding {
	list := make([]Holding, len(published))
	for i, f := range published {
		list[i] = l.holding(f)
	}
	return list
}

func (l Layout) holding(f File) Holding {
	h, where := Holding{File: f}, l.Path(f.Path)
	if link, err := os.Readlink(where); err == nil {
		h.Link = link
	}
	if h.Problem = inspect(where); h.Problem != "" {
		if h.Problem == "missing" && h.Link != "" {
			h.Problem = "a link to a file that is missing"
		}
		return h
	}
	h.Bytes = sizeOf(where)
	if !isCheckpoint(f) {
		return h
	}
	ix, err := checkpoint.Open(where)
	if err != nil {
		h.Problem = err.Error()
		return h
	}
	if f.Sharded {
		h.Shards = len(ix.Files)
		for _, shard := range ix.Files {
			h.Bytes += sizeOf(shard)
		}
	}
	bytes := map[string]int64{}
	for _, t := range ix.Tensors {
		h.Tensors++
		h.Parameters += t.Elements()
		bytes[t.DType.String()] += t.Elements() * t.DType.Size()
	}
	h.DTypes = slices.SortedFunc(maps.Keys(bytes), func(a, b string) int {
		return cmp.Or(cmp.Compare(bytes[b], bytes[a]), cmp.Compare(a, b))
	})
	return h
}

// isCheckpoint tells the files that hold tensors from tokenizers, settings and ONNX models.
func isCheckpoint(f File) bool {
	return f.Sharded || slices.Contains([]string{".pth", ".pt", ".safetensors"}, filepath.Ext(f.Path))
}

func sizeOf(name string) int64 {
	st, err := os.Stat(name)
	if err != nil {
		return 0
	}
	return st.Size()
}
