// Package parity compares the engine with tensors that the original PyTorch code left: a folder with tiny checkpoints in
// the published formats (weights/) and cases with inputs and expected outputs (cases/). It takes any such folder,
// whatever its sizes, prompts and schedules.
//
// It knows every part of the engine and nothing of jobs.
package parity

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
)

// set is a folder of cases.
type set struct {
	dir   string
	Cases []*testCase `json:"cases"`
}

// testCase is one entry of cases/index.json.
type testCase struct {
	Name      string                     `json:"name"`
	File      string                     `json:"file"`
	Config    json.RawMessage            `json:"config"`
	Tensors   map[string]json.RawMessage `json:"tensors"`
	Tolerance json.RawMessage            `json:"tolerance"` // per tensor, or "exact"

	dir string // of cases/
	ix  *checkpoint.Index
}

func openSet(dir string) (*set, error) {
	path := filepath.Join(dir, "cases", "index.json")
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New("missing_file", path, "this is no folder of golden cases: cases/index.json cannot be read").Because(err)
	}
	s := &set{dir: dir}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fault.New("bad_file", path, "the index of cases is not readable JSON").Because(err)
	}
	if len(s.Cases) == 0 {
		return nil, fault.New("bad_file", path, "the index lists no cases")
	}
	for _, c := range s.Cases {
		c.dir = filepath.Join(dir, "cases")
	}
	return s, nil
}

// load opens the case's tensors, if it has a tensor file.
func (c *testCase) load() (err error) {
	if filepath.Ext(c.File) == ".safetensors" {
		c.ix, err = checkpoint.Open(filepath.Join(c.dir, c.File))
	}
	return err
}

// path is a file of the set that the case names.
func (c *testCase) path(name string) string { return filepath.Join(c.dir, filepath.FromSlash(name)) }

// config decodes the case's settings into dst.
func (c *testCase) config(dst any) error {
	if err := json.Unmarshal(c.Config, dst); err != nil {
		return fmt.Errorf("the case's config: %w", err)
	}
	return nil
}

func (c *testCase) tensor(name string) (*checkpoint.Tensor, error) {
	if c.ix == nil {
		return nil, fmt.Errorf("the case has no tensor file")
	}
	t, ok := c.ix.Tensors[name]
	if !ok {
		return nil, fmt.Errorf("the case lacks the tensor %s", name)
	}
	return t, nil
}

// floats reads a tensor, widened to float32, and its shape.
func (c *testCase) floats(name string) ([]float32, []int64, error) {
	t, err := c.tensor(name)
	if err != nil {
		return nil, nil, err
	}
	data, err := t.Float32()
	return data, t.Shape, err
}

// ints reads a tensor of small whole numbers.
func (c *testCase) ints(name string) ([]int, error) {
	data, _, err := c.floats(name)
	if err != nil {
		return nil, err
	}
	out := make([]int, len(data))
	for i, v := range data {
		out[i] = int(v)
	}
	return out, nil
}

// tolerance is the bound on one tensor.
type tolerance struct {
	exact bool
	Abs   float64 `json:"tol_abs"`
}

func (c *testCase) tolerance(tensor string) (tolerance, error) {
	var all map[string]json.RawMessage
	raw := c.Tolerance
	if json.Unmarshal(raw, &all) == nil {
		if raw = all[tensor]; raw == nil {
			return tolerance{}, fmt.Errorf("no tolerance is stated for %s", tensor)
		}
	}
	var word string
	if json.Unmarshal(raw, &word) == nil {
		if word != "exact" {
			return tolerance{}, fmt.Errorf("unknown tolerance %q for %s", word, tensor)
		}
		return tolerance{exact: true}, nil
	}
	var t tolerance
	if err := json.Unmarshal(raw, &t); err != nil {
		return tolerance{}, fmt.Errorf("tolerance of %s: %w", tensor, err)
	}
	return t, nil
}
