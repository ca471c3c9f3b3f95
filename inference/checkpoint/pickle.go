package checkpoint

import "encoding/binary"

// The pickle instructions that torch.save needs at protocols 2 to 5. All others are refused.
const (
	opMark         = '('
	opStop         = '.'
	opNone         = 'N'
	opNewTrue      = 0x88
	opNewFalse     = 0x89
	opBinInt       = 'J'
	opBinInt1      = 'K'
	opBinInt2      = 'M'
	opLong1        = 0x8a
	opBinFloat     = 'G'
	opBinUnicode   = 'X'
	opShortUnicode = 0x8c
	opBinUnicode8  = 0x8d
	opEmptyTuple   = ')'
	opTuple        = 't'
	opTuple1       = 0x85
	opTuple2       = 0x86
	opTuple3       = 0x87
	opEmptyList    = ']'
	opAppend       = 'a'
	opAppends      = 'e'
	opEmptyDict    = '}'
	opSetItem      = 's'
	opSetItems     = 'u'
	opBinPut       = 'q'
	opLongBinPut   = 'r'
	opMemoize      = 0x94
	opBinGet       = 'h'
	opLongBinGet   = 'j'
	opGlobal       = 'c'
	opInst         = 'i' // never allowed; known only so that the class can be named
	opStackGlobal  = 0x93
	opReduce       = 'R'
	opBuild        = 'b'
	opBinPersID    = 'Q'
	opProto        = 0x80
	opFrame        = 0x95
)

const (
	lowestProtocol, highestProtocol = 2, 5

	// maxInstructions is room for 20,000 tensors at some 45 each.
	maxInstructions = 1 << 20

	// maxStack is far above what is needed: Python's writer fills containers a thousand items at a time.
	maxStack = 1 << 16
)

// The values that a pickle can build, beside int64, *big.Int, float64, string, bool and nil. Nothing of it is code.
type (
	tuple []any
	list  struct{ items []any }
	dict  struct{ keys, values []any } // in the order of insertion; a key may be any value
)

// unpickler runs one pickle. It executes nothing: a class or function is a name from a short list (torch_globals.go),
// and calling it builds a plain description of a tensor. It does not recurse. Its memory stays within a small multiple
// of the pickle: an instruction makes at most one object of some 50 bytes beside the bytes that it takes.
type unpickler struct {
	src      *pickleSource
	stack    []any
	marks    []int // heights of the stack at the open marks
	memo     map[uint32]any
	storages map[string]storage // by key; all that the pickle refers to
}

// unpickle reads one pickle and leaves src after it. The result may refer to itself.
func unpickle(src *pickleSource) (any, map[string]storage, error) {
	u := &unpickler{src: src, memo: map[uint32]any{}, storages: map[string]storage{}}
	for range maxInstructions {
		op, err := src.byte()
		if err != nil {
			return nil, nil, err
		}
		if op == opStop {
			result, err := u.pop()
			if err == nil && len(u.stack)+len(u.marks) > 0 {
				err = malformed("the pickle leaves values on its stack")
			}
			return result, u.storages, err
		}
		if err := u.step(op); err != nil {
			return nil, nil, err
		}
	}
	return nil, nil, malformed("the pickle has more than %d instructions", maxInstructions)
}

func (u *unpickler) step(op byte) error {
	switch op {
	case opProto:
		return u.protocol()
	case opFrame: // a hint for buffering
		_, err := u.src.take(8)
		return err
	case opMark:
		if len(u.marks) == maxStack {
			return malformed("the pickle has more than %d open marks", maxStack)
		}
		u.marks = append(u.marks, len(u.stack))
		return nil
	case opBinPut, opLongBinPut, opMemoize, opBinGet, opLongBinGet:
		return u.memory(op)
	case opEmptyTuple, opTuple, opTuple1, opTuple2, opTuple3, opEmptyList, opEmptyDict:
		return u.build(op)
	case opAppend, opAppends, opSetItem, opSetItems:
		return u.fill(op)
	case opGlobal, opInst, opStackGlobal, opReduce, opBuild, opBinPersID:
		return u.object(op)
	default:
		v, err := u.literal(op)
		return u.pushed(v, err)
	}
}

func (u *unpickler) protocol() error {
	v, err := u.src.byte()
	if err == nil && (v < lowestProtocol || v > highestProtocol) {
		err = unsupported("the pickle has protocol %d; %d to %d are read", v, lowestProtocol, highestProtocol)
	}
	return err
}

// memory stores the top of the stack under a number, or pushes what a number stands for.
func (u *unpickler) memory(op byte) error {
	var key uint32
	switch op {
	case opMemoize:
		key = uint32(len(u.memo))
	case opBinPut, opBinGet:
		b, err := u.src.byte()
		if err != nil {
			return err
		}
		key = uint32(b)
	default:
		b, err := u.src.take(4)
		if err != nil {
			return err
		}
		key = binary.LittleEndian.Uint32(b)
	}
	if op == opBinGet || op == opLongBinGet {
		v, ok := u.memo[key]
		if !ok {
			return malformed("the pickle refers to its value %d before making it", key)
		}
		return u.pushed(v, nil)
	}
	v, err := u.pop()
	if err != nil {
		return err
	}
	u.memo[key] = v
	return u.pushed(v, nil)
}

// build pushes a tuple of what lies on the stack, or an empty container.
func (u *unpickler) build(op byte) error {
	switch op {
	case opEmptyList:
		return u.pushed(&list{}, nil)
	case opEmptyDict:
		return u.pushed(&dict{}, nil)
	case opEmptyTuple:
		return u.pushed(tuple{}, nil)
	case opTuple:
		items, err := u.popToMark()
		return u.pushed(tuple(items), err)
	default:
		items, err := u.popMany(int(op-opTuple1) + 1)
		return u.pushed(tuple(items), err)
	}
}

// fill moves what lies on the stack into the container below it.
func (u *unpickler) fill(op byte) error {
	var items []any
	var err error
	switch op {
	case opAppend:
		items, err = u.popMany(1)
	case opSetItem:
		items, err = u.popMany(2)
	default:
		items, err = u.popToMark()
	}
	if err != nil {
		return err
	}
	target, err := u.pop()
	if err != nil {
		return err
	}
	switch c := target.(type) {
	case *list:
		if op != opAppend && op != opAppends {
			return malformed("the pickle sets an item of a list")
		}
		c.items = append(c.items, items...)
	case *dict:
		if op != opSetItem && op != opSetItems || len(items)%2 != 0 {
			return malformed("the pickle fills a dict with something else than pairs")
		}
		for i := 0; i < len(items); i += 2 {
			c.keys, c.values = append(c.keys, items[i]), append(c.values, items[i+1])
		}
	default:
		return malformed("the pickle fills a %s", kindOf(target))
	}
	return u.pushed(target, nil)
}

// pushed ends an instruction that makes one value.
func (u *unpickler) pushed(v any, err error) error {
	if err != nil {
		return err
	}
	if len(u.stack) == maxStack {
		return malformed("the pickle has more than %d values on its stack", maxStack)
	}
	u.stack = append(u.stack, v)
	return nil
}

func (u *unpickler) pop() (any, error) {
	if len(u.stack) == u.floor() {
		return nil, malformed("the pickle takes a value from an empty stack")
	}
	v := u.stack[len(u.stack)-1]
	u.stack = u.stack[:len(u.stack)-1]
	return v, nil
}

// popMany returns the n topmost values, the deepest one first.
func (u *unpickler) popMany(n int) ([]any, error) {
	if len(u.stack)-u.floor() < n {
		return nil, malformed("the pickle takes a value from an empty stack")
	}
	return u.cut(len(u.stack) - n), nil
}

// popToMark returns the values above the last mark and removes the mark.
func (u *unpickler) popToMark() ([]any, error) {
	if len(u.marks) == 0 {
		return nil, malformed("the pickle closes a mark that it never opened")
	}
	items := u.cut(u.floor())
	u.marks = u.marks[:len(u.marks)-1]
	return items, nil
}

func (u *unpickler) cut(height int) []any {
	items := append([]any(nil), u.stack[height:]...)
	u.stack = u.stack[:height]
	return items
}

// floor is the height below which no instruction but popToMark may reach.
func (u *unpickler) floor() int {
	if len(u.marks) == 0 {
		return 0
	}
	return u.marks[len(u.marks)-1]
}
