package checkpoint

import "strconv"

const (
	maxNesting = 32 // dicts and lists in each other; bounds the recursion over a pickle's result

	// What the leaves of a pickle may cost for each byte of it: room for long common prefixes and for values that
	// occur twice, but not for a dict that holds another one twice, which holds another one twice, and so on.
	costPerPickleByte = 32
	leafCost          = 64 // beside the bytes of the name
	tensorCost        = 192
	itemCost          = 24
)

// torchReader turns the result of a pickle into named tensors and other leaves.
type torchReader struct {
	file    string
	at      map[string]int64 // storage key → byte offset in the file
	budget  int64
	tensors map[string]*Tensor
	other   map[string]any
	within  map[string]bool // the prefixes of the names that a dict gave to its tensors
}

// nameLeaves fills ix from the result of a pickle that took pickleBytes.
func nameLeaves(root any, file string, at map[string]int64, pickleBytes int64, ix *Index) error {
	r := &torchReader{file: file, at: at, budget: costPerPickleByte*pickleBytes + 8<<10,
		tensors: map[string]*Tensor{}, other: map[string]any{}, within: map[string]bool{}}
	err := r.walk("", "", root, 0)
	ix.Tensors, ix.Other = r.tensors, r.other
	if len(r.within) == 1 {
		for prefix := range r.within {
			ix.wrapper = prefix
		}
	}
	return err
}

// walk names the leaves under v, whose name is prefix and a key; depth is 0 at the root. A dict that contains itself
// runs into maxNesting.
func (r *torchReader) walk(prefix, key string, v any, depth int) error {
	name := prefix + key
	if err := r.spend(len(name)+leafCost, depth); err != nil {
		return err
	}
	d, ok := v.(*dict)
	if !ok {
		if _, ok := v.(*pickledTensor); ok {
			r.within[prefix] = true
		}
		return r.leaf(name, v, depth)
	}
	inner := ""
	if depth > 0 {
		inner = name + "."
	}
	for i, key := range d.keys {
		part, err := keyName(key)
		if err != nil {
			return err
		}
		if err := r.walk(inner, part, d.values[i], depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (r *torchReader) leaf(name string, v any, depth int) error {
	plain, err := r.plain(name, v, depth)
	if err != nil {
		return err
	}
	if _, ok := r.other[name]; ok || r.tensors[name] != nil {
		return malformed("two values have the name %s", quote(name))
	}
	if t, ok := plain.(*Tensor); ok {
		r.tensors[name] = t
	} else {
		r.other[name] = plain
	}
	return nil
}

// plain is v in the types that Open promises.
func (r *torchReader) plain(name string, v any, depth int) (any, error) {
	switch x := v.(type) {
	case *pickledTensor:
		return r.tensor(name, x, depth)
	case *list:
		return r.plainList(name, x.items, depth+1)
	case tuple:
		return r.plainList(name, x, depth+1)
	case *dict:
		return r.plainDict(name, x, depth+1)
	case global, storage:
		return nil, malformed("the value %s is a bare %s", quote(name), kindOf(v))
	}
	return v, nil
}

func (r *torchReader) plainList(name string, items []any, depth int) (any, error) {
	if err := r.spend(itemCost*len(items), depth); err != nil {
		return nil, err
	}
	out := make([]any, 0, len(items))
	for _, item := range items {
		v, err := r.plain(name, item, depth)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func (r *torchReader) plainDict(name string, d *dict, depth int) (any, error) {
	out := map[string]any{}
	for i, key := range d.keys {
		part, err := keyName(key)
		if err != nil {
			return nil, err
		}
		if err := r.spend(len(part)+leafCost, depth); err != nil {
			return nil, err
		}
		if _, ok := out[part]; ok {
			return nil, malformed("the dict in %s has the key %s twice", quote(name), quote(part))
		}
		if out[part], err = r.plain(name, d.values[i], depth); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (r *torchReader) tensor(name string, t *pickledTensor, depth int) (any, error) {
	if err := r.spend(tensorCost, depth); err != nil {
		return nil, err
	}
	s := t.storage
	return &Tensor{Name: name, DType: s.dtype, Shape: t.shape, Stride: t.stride, File: r.file,
		Offset: r.at[s.key] + (s.first+t.first)*s.dtype.Size()}, nil
}

// spend pays for a part of the result.
func (r *torchReader) spend(cost, depth int) error {
	if depth > maxNesting {
		return malformed("the pickle nests values more than %d deep, or a value contains itself", maxNesting)
	}
	if r.budget -= int64(cost); r.budget < 0 {
		return malformed("what the pickle unfolds into is out of proportion to its size")
	}
	return nil
}

// keyName is the part of a name that stands for a key of a dict.
func keyName(key any) (string, error) {
	switch k := key.(type) {
	case string:
		return k, nil
	case int64:
		return strconv.FormatInt(k, 10), nil
	}
	return "", malformed("the pickle has a dict with a key that is a %s", kindOf(key))
}
