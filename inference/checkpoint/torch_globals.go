package checkpoint

import (
	"math"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// global is a class or function that a pickle may name.
type global uint8

const (
	orderedDict global = iota
	rebuildTensor
	rebuildParameter
	storageClass // + dtype
)

// globals is the allow-list, by module and name. It is what the published files need and nothing more: these build
// tensors, dicts and nothing else, and none of them is ever called.
var globals = map[[2]string]global{
	{"collections", "OrderedDict"}:         orderedDict,
	{"torch._utils", "_rebuild_tensor_v2"}: rebuildTensor,
	{"torch._utils", "_rebuild_parameter"}: rebuildParameter,
	{"torch", "FloatStorage"}:              storageClass + global(F32),
	{"torch", "HalfStorage"}:               storageClass + global(F16),
	{"torch", "BFloat16Storage"}:           storageClass + global(BF16),
	{"torch", "DoubleStorage"}:             storageClass + global(F64),
	{"torch", "LongStorage"}:               storageClass + global(I64),
	{"torch", "IntStorage"}:                storageClass + global(I32),
	{"torch", "ByteStorage"}:               storageClass + global(U8),
	{"torch", "BoolStorage"}:               storageClass + global(Bool),
}

// storage is a range of elements that tensors refer to: all or, in old files, a part of what is stored under a key.
type storage struct {
	key           string
	dtype         DType
	elements      int64 // stored under the key; their bytes fit an int64
	first, length int64 // the part, in elements
}

// pickledTensor is a tensor of which the place of its storage is not known yet. It fits its storage.
type pickledTensor struct {
	storage       storage
	first         int64 // in elements from the start of the storage's part
	shape, stride []int64
}

// object runs the instructions that deal with classes.
func (u *unpickler) object(op byte) error {
	switch op {
	case opGlobal, opInst:
		module, err := u.src.line()
		if err != nil {
			return err
		}
		name, err := u.src.line()
		if err != nil {
			return err
		}
		if op == opInst {
			return forbidden(module, name)
		}
		return u.name(module, name)
	case opStackGlobal:
		pair, err := u.popMany(2)
		if err != nil {
			return err
		}
		module, ok1 := pair[0].(string)
		name, ok2 := pair[1].(string)
		if !ok1 || !ok2 {
			return malformed("the pickle names a class with something else than strings")
		}
		return u.name(module, name)
	case opReduce:
		pair, err := u.popMany(2)
		if err != nil {
			return err
		}
		v, err := call(pair[0], pair[1])
		return u.pushed(v, err)
	case opBuild:
		return u.setState()
	default: // opBinPersID
		id, err := u.pop()
		if err != nil {
			return err
		}
		v, err := u.persistent(id)
		return u.pushed(v, err)
	}
}

func (u *unpickler) name(module, name string) error {
	g, ok := globals[[2]string{module, name}]
	if !ok {
		return forbidden(module, name)
	}
	return u.pushed(g, nil)
}

func forbidden(module, name string) error {
	return fault.New(CodeForbiddenGlobal, "", "the pickle names %s of module %s, which could run code; "+
		"only tensors, dicts and plain values are read: convert the file to safetensors", quote(name), quote(module))
}

// setState drops the attributes of an OrderedDict: a module's state dict has the versions of its layers there.
func (u *unpickler) setState() error {
	pair, err := u.popMany(2)
	if err != nil {
		return err
	}
	target, ok1 := pair[0].(*dict)
	_, ok2 := pair[1].(*dict)
	if !ok1 || !ok2 {
		return malformed("the pickle gives a %s the state %s", kindOf(pair[0]), kindOf(pair[1]))
	}
	return u.pushed(target, nil)
}

// call describes what calling one of the allowed functions would build.
func call(function, arguments any) (any, error) {
	f, ok1 := function.(global)
	args, ok2 := arguments.(tuple)
	if !ok1 || !ok2 {
		return nil, malformed("the pickle calls a %s with a %s", kindOf(function), kindOf(arguments))
	}
	switch {
	case f == orderedDict && len(args) == 0:
		return &dict{}, nil
	case f == rebuildTensor && (len(args) == 6 || len(args) == 7):
		return newPickledTensor(args)
	case f == rebuildParameter && len(args) == 3: // (tensor, requires_grad, hooks)
		if t, ok := args[0].(*pickledTensor); ok && isBool(args[1]) && isEmpty(args[2]) {
			return t, nil
		}
	}
	return nil, malformed("the pickle calls an allowed function with arguments that it does not take")
}

// newPickledTensor takes (storage, offset, size, stride, requires_grad, hooks[, metadata]). The metadata would change
// what the bytes mean (a lazy negation, say), so only its absence is accepted.
func newPickledTensor(args tuple) (any, error) {
	s, ok1 := args[0].(storage)
	first, ok2 := args[1].(int64)
	shape, ok3 := sizes(args[2])
	stride, ok4 := sizes(args[3])
	if !ok1 || !ok2 || !ok3 || !ok4 || !isBool(args[4]) || !isEmpty(args[5]) || len(args) == 7 && !isEmpty(args[6]) {
		return nil, malformed("the pickle describes a tensor with values of the wrong kind")
	}
	if !s.holds(first, shape, stride) {
		return nil, malformed("a tensor of shape %v, strides %v and offset %d does not fit its storage of %d elements",
			shape, stride, first, s.length)
	}
	return &pickledTensor{storage: s, first: first, shape: shape, stride: stride}, nil
}

// holds reports whether every element of a tensor lies in the storage.
func (s storage) holds(first int64, shape, stride []int64) bool {
	bytes, ok := byteSize(shape, s.dtype)
	if !ok || len(shape) != len(stride) || first < 0 {
		return false
	}
	if bytes == 0 {
		return first <= s.length
	}
	last, ok := lastElement(shape, stride)
	return ok && last < s.length && first < s.length-last
}

// persistent takes ("storage", class, key, location, elements[, view]) with view = (key, offset, elements) or None.
// The location is a device that need not exist here.
func (u *unpickler) persistent(id any) (any, error) {
	t, _ := id.(tuple)
	if len(t) != 5 && len(t) != 6 || t[0] != "storage" {
		return nil, malformed("the pickle refers to something else than a storage")
	}
	class, ok1 := t[1].(global)
	key, ok2 := t[2].(string)
	_, ok3 := t[3].(string)
	elements, ok4 := t[4].(int64)
	if !ok1 || class <= storageClass || !ok2 || !ok3 || !ok4 || elements < 0 || elements > math.MaxInt64/8 {
		return nil, malformed("the pickle refers to a storage with values of the wrong kind")
	}
	s := storage{key: key, dtype: DType(class - storageClass), elements: elements, length: elements}
	if known, ok := u.storages[key]; ok && known != s {
		return nil, malformed("the pickle describes the storage %s in two ways", quote(key))
	}
	u.storages[key] = s
	if len(t) == 6 && t[5] != nil {
		return s.view(t[5])
	}
	return s, nil
}

func (s storage) view(v any) (any, error) {
	t, _ := v.(tuple)
	if len(t) == 3 {
		first, ok1 := t[1].(int64)
		length, ok2 := t[2].(int64)
		if ok1 && ok2 && first >= 0 && length >= 0 && length <= s.elements && first <= s.elements-length {
			s.first, s.length = first, length
			return s, nil
		}
	}
	return nil, malformed("the pickle cuts the storage %s beyond its %d elements", quote(s.key), s.elements)
}

func sizes(v any) ([]int64, bool) {
	t, ok := v.(tuple)
	if !ok || len(t) > maxRank {
		return nil, false
	}
	list := make([]int64, len(t))
	for i, item := range t {
		n, ok := item.(int64)
		if !ok || n < 0 {
			return nil, false
		}
		list[i] = n
	}
	return list, true
}

func isBool(v any) bool { _, ok := v.(bool); return ok }

// isEmpty reports whether v is None or a dict without items: no hooks, no metadata.
func isEmpty(v any) bool {
	d, ok := v.(*dict)
	return v == nil || ok && len(d.keys) == 0
}

// kindOf names the kind of a value in Python's words.
func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "None"
	case bool:
		return "bool"
	case string:
		return "str"
	case float64:
		return "float"
	case tuple:
		return "tuple"
	case *list:
		return "list"
	case *dict:
		return "dict"
	case *pickledTensor:
		return "tensor"
	case storage:
		return "storage"
	case global:
		return "class"
	default: // int64 and *big.Int are left
		return "int"
	}
}
