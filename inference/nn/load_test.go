package nn_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/nn"
)

type inner struct {
	nn.Linear `weight:""`
}

type outer struct {
	Blocks []struct {
		In    inner          `weight:"in"`
		Gamma graph.Weight   `weight:"norm.gamma"`
		Short *nn.Projection `weight:"shortcut,optional"`
	} `weight:"blocks"`
	Head graph.Weight `weight:"head,optional"`
}

func index(tensors map[string]checkpoint.DType) *checkpoint.Index {
	ix := &checkpoint.Index{Path: "test.safetensors", Tensors: map[string]*checkpoint.Tensor{}}
	for name, dtype := range tensors {
		ix.Tensors[name] = &checkpoint.Tensor{Name: name, DType: dtype, Shape: []int64{2, 2}, Stride: []int64{2, 1}}
	}
	return ix
}

func TestLoadFollowsTags(t *testing.T) {
	ix := index(map[string]checkpoint.DType{
		"m.blocks.0.in.weight": checkpoint.F32, "m.blocks.0.in.bias": checkpoint.BF16, "m.blocks.0.norm.gamma": checkpoint.F16,
		"m.blocks.1.in.weight": checkpoint.F32, "m.blocks.1.in.bias": checkpoint.F32, "m.blocks.1.norm.gamma": checkpoint.F32,
		"m.blocks.1.shortcut.weight": checkpoint.F32, "m.extra": checkpoint.I64, "elsewhere": checkpoint.F32,
	})
	var m outer
	unused, err := nn.Load(&m, ix, "m.")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"m.extra"}, unused); diff != "" {
		t.Errorf("unused (-want +got):\n%s", diff)
	}
	if len(m.Blocks) != 2 || m.Blocks[0].Short != nil || m.Blocks[1].Short == nil || m.Head.Present() {
		t.Errorf("optional parts: %+v", m)
	}
	if name := m.Blocks[1].In.Bias.Name; name != "m.blocks.1.in.bias" {
		t.Errorf("blocks[1].in.bias is %s", name)
	}
}

// One error names all that is missing, a gap in a list and a missing bias included: the reference would run without.
func TestLoadReportsEverythingMissing(t *testing.T) {
	ix := index(map[string]checkpoint.DType{"blocks.2.in.weight": checkpoint.F32, "blocks.0.in.weight": checkpoint.F32, "blocks.0.in.bias": checkpoint.F32, "blocks.0.norm.gamma": checkpoint.F32})
	_, err := nn.Load(new(outer), ix, "")
	if fault.CodeOf(err) != "missing_tensors" {
		t.Fatalf("got %v", err)
	}
	for _, name := range []string{"blocks.1.in.weight", "blocks.1.in.bias", "blocks.1.norm.gamma", "blocks.2.in.bias", "blocks.2.norm.gamma"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named in: %v", name, err)
		}
	}
	if _, err := nn.Load(new(outer), index(nil), ""); fault.CodeOf(err) != "missing_tensors" {
		t.Errorf("an empty checkpoint gives %v", err)
	}
}

func TestLoadRefusesOtherDTypes(t *testing.T) {
	ix := index(map[string]checkpoint.DType{"blocks.0.in.weight": checkpoint.I64, "blocks.0.in.bias": checkpoint.F64, "blocks.0.norm.gamma": checkpoint.F32})
	_, err := nn.Load(new(outer), ix, "")
	if fault.CodeOf(err) != "unsupported_dtype" || !strings.Contains(err.Error(), "in.weight (I64)") || !strings.Contains(err.Error(), "in.bias (F64)") {
		t.Errorf("got %v", err)
	}
}

// A list whose number is absurd must not make the loader allocate that many.
func TestLoadIgnoresAbsurdNumbers(t *testing.T) {
	_, err := nn.Load(new(outer), index(map[string]checkpoint.DType{"blocks.99999999999.in.weight": checkpoint.F32, "blocks.123456789.in.bias": checkpoint.F32}), "")
	if fe := (*fault.Error)(nil); !errors.As(err, &fe) || len(fe.Message) > 1000 {
		t.Errorf("got %v", err)
	}
}
