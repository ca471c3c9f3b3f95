package parity

import (
	"context"
	"fmt"
	"reflect"
	"strings"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/golden"
)

// torchCase reads PyTorch files of every layout: out.<file>/<key> is compared byte by byte, config.other holds the
// leaves that are no tensors.
func torchCase(_ context.Context, _ *inference.Engine, c *golden.Case) (outputs, error) {
	var config struct {
		Files []string
		Other map[string]map[string]any
	}
	if err := c.Config(&config); err != nil {
		return nil, err
	}
	out := outputs{}
	for _, file := range config.Files {
		ix, err := checkpoint.Open(c.Path("torch/" + file))
		if err != nil {
			return nil, err
		}
		expected := 0
		for label, want := range c.Index.Tensors {
			key, ours := strings.CutPrefix(label, "out."+file)
			if !ours {
				continue
			}
			expected++
			t := ix.Lookup(strings.TrimPrefix(key, "/"))
			if t == nil {
				return nil, fmt.Errorf("%s: the reader finds no such tensor", label)
			}
			if want.DType != t.DType {
				return nil, fmt.Errorf("%s is %s, want %s", label, t.DType, want.DType)
			}
			raw, err := t.Raw()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", label, err)
			}
			out[label] = golden.Array{Shape: t.Shape, Raw: append([]byte{}, raw...)}
		}
		if expected != len(ix.Tensors) {
			return nil, fmt.Errorf("%s: the reader finds %d tensors, the case expects %d", file, len(ix.Tensors), expected)
		}
		if want := config.Other[file]; want != nil && fmt.Sprint(plain(want)) != fmt.Sprint(plain(ix.Other)) {
			return nil, fmt.Errorf("%s: the values that are no tensors are %v, want %v", file, ix.Other, want)
		}
	}
	return out, nil
}

// plain makes JSON's numbers and a pickle's comparable: all of them float64.
func plain(v any) any {
	r := reflect.ValueOf(v)
	switch {
	case v == nil:
		return nil
	case r.CanInt():
		return float64(r.Int())
	case r.Kind() == reflect.Slice:
		out := make([]any, r.Len())
		for i := range out {
			out[i] = plain(r.Index(i).Interface())
		}
		return out
	case r.Kind() == reflect.Map:
		out := map[string]any{}
		for _, k := range r.MapKeys() {
			out[k.String()] = plain(r.MapIndex(k).Interface())
		}
		return out
	}
	return v
}
