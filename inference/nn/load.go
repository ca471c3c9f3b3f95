// Package nn holds the layers that HuMo's networks are made of: Linear, norms, attention, rotary embedding, causal
// convolution. A network is a Go struct whose `weight:"…"` tags spell the checkpoint's names; Load fills it. Every fused
// operator has a decomposed twin (graph.Options.Decompose), its oracle in tests.
//
// It knows no network and no file format.
package nn

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/graph"
)

// Load fills the graph.Weight fields of *dst from the checkpoint. A field tagged `weight:"a.b"` reads the tensor or
// descends into the names under prefix.a.b; "a.b,optional" may be missing (the Weight stays absent, the pointer nil). A slice
// reads prefix.0, prefix.1, … as many as the checkpoint numbers.
//
// All missing tensors come back in one fault ("missing_tensors"); a tensor that no graph can compute with is
// "unsupported_dtype". unused lists the names under prefix that no field asked for, sorted.
func Load(dst any, ix *checkpoint.Index, prefix string) (unused []string, err error) {
	l := loader{ix: ix, names: ix.Names(), used: map[string]bool{}}
	l.fill(reflect.ValueOf(dst).Elem(), strings.TrimSuffix(prefix, "."))
	if len(l.missing) > 0 {
		return nil, fault.New("missing_tensors", ix.Path, "the checkpoint lacks %d of the tensors that this network needs: %s; fetch the published file again",
			len(l.missing), strings.Join(l.missing, ", "))
	}
	if len(l.badType) > 0 {
		return nil, fault.New("unsupported_dtype", ix.Path, "weights must be F32, F16 or BF16, but these are not: %s", strings.Join(l.badType, ", "))
	}
	for _, name := range l.names {
		if !l.used[name] && strings.HasPrefix(name, prefix) {
			unused = append(unused, name)
		}
	}
	return unused, nil
}

type loader struct {
	ix               *checkpoint.Index
	names            []string // sorted
	used             map[string]bool
	missing, badType []string
}

var weightType = reflect.TypeFor[graph.Weight]()

func (l *loader) fill(v reflect.Value, at string) {
	for i := range v.NumField() {
		tag, ok := v.Type().Field(i).Tag.Lookup("weight")
		if !ok {
			continue
		}
		path, option, _ := strings.Cut(tag, ",")
		l.field(v.Field(i), join(at, path), option == "optional")
	}
}

func (l *loader) field(v reflect.Value, at string, optional bool) {
	switch {
	case v.Type() == weightType:
		l.weight(v, at, optional)
	case v.Kind() == reflect.Struct:
		l.fill(v, at)
	case v.Kind() == reflect.Pointer:
		if optional && !l.any(at+".") {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		l.fill(v.Elem(), at)
	case v.Kind() == reflect.Slice:
		n := l.count(at + ".")
		if n == 0 && !optional {
			l.missing = append(l.missing, at+".0")
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			l.field(v.Index(i), at+"."+strconv.Itoa(i), false)
		}
	default:
		panic(fmt.Sprintf("nn: weight tag on a field of type %s", v.Type()))
	}
}

func (l *loader) weight(v reflect.Value, at string, optional bool) {
	t, ok := l.ix.Tensors[at]
	if !ok {
		if !optional {
			l.missing = append(l.missing, at)
		}
		return
	}
	l.used[at] = true
	if t.DType != checkpoint.F32 && t.DType != checkpoint.F16 && t.DType != checkpoint.BF16 {
		l.badType = append(l.badType, at+" ("+t.DType.String()+")")
	}
	v.Set(reflect.ValueOf(graph.Weight{Tensor: t}))
}

// any reports whether the checkpoint has a name with the prefix.
func (l *loader) any(prefix string) bool {
	i, _ := slices.BinarySearch(l.names, prefix)
	return i < len(l.names) && strings.HasPrefix(l.names[i], prefix)
}

// count is one more than the largest number that follows prefix, so that a gap shows as missing tensors. Numbers beyond
// the count of names cannot be a published list and are ignored.
func (l *loader) count(prefix string) int {
	n := 0
	i, _ := slices.BinarySearch(l.names, prefix)
	for ; i < len(l.names) && strings.HasPrefix(l.names[i], prefix); i++ {
		number, _, _ := strings.Cut(strings.TrimPrefix(l.names[i], prefix), ".")
		if k, err := strconv.Atoi(number); err == nil && k >= n && k < len(l.names) {
			n = k + 1
		}
	}
	return n
}

func join(at, path string) string {
	switch {
	case at == "":
		return path
	case path == "":
		return at
	}
	return at + "." + path
}
