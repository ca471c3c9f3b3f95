// Package golden reads folders of golden cases: tiny checkpoints in the published formats (weights/), and inputs with
// the outputs that the original PyTorch code computed from them (cases/). It compares computed tensors with these, each
// within its stated bound.
//
// It knows no network; package parity computes.
package golden

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
)

// Set is a folder of cases.
type Set struct {
	Cases []*Case `json:"cases"`
}

// Case is one entry of cases/index.json.
type Case struct {
	Name      string                     `json:"name"`
	File      string                     `json:"file"`
	Settings  json.RawMessage            `json:"config"`
	Tensors   map[string]json.RawMessage `json:"tensors"`
	Tolerance json.RawMessage            `json:"tolerance"` // per tensor, or "exact"

	// Index holds the case's tensors once Load has run; nil if it has no tensor file.
	Index *checkpoint.Index

	dir string // of cases/
}

// Open reads the index of the set in dir.
func Open(dir string) (*Set, error) {
	path := filepath.Join(dir, "cases", "index.json")
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New("missing_file", path, "this is no folder of golden cases: cases/index.json cannot be read").Because(err)
	}
	s := new(Set)
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

// Load opens the case's tensors, if it has a tensor file.
func (c *Case) Load() (err error) {
	if filepath.Ext(c.File) == ".safetensors" {
		c.Index, err = checkpoint.Open(filepath.Join(c.dir, c.File))
	}
	return err
}

// Path is a file of the set that the case names.
func (c *Case) Path(name string) string { return filepath.Join(c.dir, filepath.FromSlash(name)) }

// Config decodes the case's settings into dst.
func (c *Case) Config(dst any) error {
	if err := json.Unmarshal(c.Settings, dst); err != nil {
		return fmt.Errorf("the case's config: %w", err)
	}
	return nil
}

// Tensor finds a tensor of the case.
func (c *Case) Tensor(name string) (*checkpoint.Tensor, error) {
	if c.Index == nil {
		return nil, fmt.Errorf("the case has no tensor file")
	}
	t, ok := c.Index.Tensors[name]
	if !ok {
		return nil, fmt.Errorf("the case lacks the tensor %s", name)
	}
	return t, nil
}

// Floats reads a tensor, widened to float32, and its shape.
func (c *Case) Floats(name string) ([]float32, []int64, error) {
	t, err := c.Tensor(name)
	if err != nil {
		return nil, nil, err
	}
	data, err := t.Float32()
	return data, t.Shape, err
}

// Ints reads a tensor of small whole numbers.
func (c *Case) Ints(name string) ([]int, error) {
	data, _, err := c.Floats(name)
	if err != nil {
		return nil, err
	}
	out := make([]int, len(data))
	for i, v := range data {
		out[i] = int(v)
	}
	return out, nil
}

// Bound is how far the largest difference from a tensor may be; 0 if it must be equal.
func (c *Case) Bound(name string) (float64, error) {
	t, err := c.tolerance(name)
	return t.Abs, err
}

// tolerance is the bound on one tensor.
type tolerance struct {
	exact bool
	Abs   float64 `json:"tol_abs"`
}

func (c *Case) tolerance(tensor string) (tolerance, error) {
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
