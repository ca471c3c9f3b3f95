package nn

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/humo-worker/humo-worker/inference/graph"
)

// Parts are a loaded network's layers and weights by their names in the checkpoint, for what is attached to them later:
// changing what a pointer leads to changes the network.
type Parts struct {
	Linears map[string]*Linear       // "blocks.0.ffn.2"
	Weights map[string]*graph.Weight // "blocks.0.ffn.2.bias"; of optional weights those that are there
}

// PartsOf lists the parts of the network that dst points to, which Load has filled.
func PartsOf(dst any) Parts {
	p := Parts{map[string]*Linear{}, map[string]*graph.Weight{}}
	p.walk(reflect.ValueOf(dst).Elem(), "")
	return p
}

func (p Parts) walk(v reflect.Value, at string) {
	switch {
	case v.Type() == weightType:
		if w := v.Addr().Interface().(*graph.Weight); w.Present() {
			p.Weights[at] = w
		}
	case v.Kind() == reflect.Struct:
		if v.Type() == reflect.TypeFor[Linear]() {
			p.Linears[at] = v.Addr().Interface().(*Linear)
		}
		for i := range v.NumField() {
			if tag, ok := v.Type().Field(i).Tag.Lookup("weight"); ok {
				path, _, _ := strings.Cut(tag, ",")
				p.walk(v.Field(i), join(at, path))
			}
		}
	case v.Kind() == reflect.Pointer:
		if !v.IsNil() {
			p.walk(v.Elem(), at)
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			p.walk(v.Index(i), at+"."+strconv.Itoa(i))
		}
	default:
		panic(fmt.Sprintf("nn: weight tag on a field of type %s", v.Type()))
	}
}
