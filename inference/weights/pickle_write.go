package weights

import (
	"encoding/binary"
	"math/big"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
)

// pickler writes the few objects of torch.save in pickle protocol 2, opcode for opcode as Python's own pickler does:
// it memoizes what Python memoizes, in the same order.
type pickler struct {
	buf  []byte
	memo map[string]int // of globals and of strings that are one object in Python
	n    int            // the next memo slot
}

// The opcodes of protocol 2 that are needed.
const (
	opProto, opStop                                 = "\x80\x02", '.'
	opMark, opTuple, opSetItem, opSetItems          = '(', 't', 's', 'u'
	opAppend, opAppends                             = 'a', 'e'
	opEmptyDict, opEmptyList, opEmptyTuple          = '}', ']', ')'
	opTuple1, opTuple2, opTuple3                    = '\x85', '\x86', '\x87'
	opGlobal, opReduce, opBuild, opPersistent       = 'c', 'R', 'b', 'Q'
	opUnicode, opNone, opTrue, opFalse              = 'X', 'N', '\x88', '\x89'
	opInt1, opInt2, opInt4, opLong1                 = 'K', 'M', 'J', '\x8a'
	opPut1, opPut4, opGet1, opGet4                  = 'q', 'r', 'h', 'j'
	batch                                           = 1000 // Python's batch of SETITEMS and APPENDS
	rebuildTensor, rebuildParameter, torchUtilities = "_rebuild_tensor_v2", "_rebuild_parameter", "torch._utils"
)

func newPickler() *pickler {
	return &pickler{buf: []byte(opProto), memo: map[string]int{}}
}

func (p *pickler) op(c ...byte) { p.buf = append(p.buf, c...) }

// finish ends the pickle and returns it.
func (p *pickler) finish() []byte { return append(p.buf, opStop) }

// put memoizes the object on top of the stack and returns its slot.
func (p *pickler) put() int {
	if p.n < 256 {
		p.op(opPut1, byte(p.n))
	} else {
		p.op(opPut4)
		p.buf = binary.LittleEndian.AppendUint32(p.buf, uint32(p.n))
	}
	p.n++
	return p.n - 1
}

// get pushes a memoized object.
func (p *pickler) get(slot int) {
	if slot < 256 {
		p.op(opGet1, byte(slot))
		return
	}
	p.op(opGet4)
	p.buf = binary.LittleEndian.AppendUint32(p.buf, uint32(slot))
}

// str pushes a string that occurs once.
func (p *pickler) str(s string) int {
	p.op(opUnicode)
	p.buf = binary.LittleEndian.AppendUint32(p.buf, uint32(len(s)))
	p.buf = append(p.buf, s...)
	return p.put()
}

// shared pushes a string that is the same object wherever it occurs.
func (p *pickler) shared(s string) {
	if slot, ok := p.memo["s:"+s]; ok {
		p.get(slot)
		return
	}
	p.memo["s:"+s] = p.str(s)
}

// global pushes a class or function.
func (p *pickler) global(module, name string) {
	key := "g:" + module + "." + name
	if slot, ok := p.memo[key]; ok {
		p.get(slot)
		return
	}
	p.op(opGlobal)
	p.buf = append(p.buf, module+"\n"+name+"\n"...)
	p.memo[key] = p.put()
}

func (p *pickler) integer(v int64) {
	switch {
	case v >= 0 && v < 1<<8:
		p.op(opInt1, byte(v))
	case v >= 0 && v < 1<<16:
		p.op(opInt2)
		p.buf = binary.LittleEndian.AppendUint16(p.buf, uint16(v))
	case v >= -1<<31 && v < 1<<31:
		p.op(opInt4)
		p.buf = binary.LittleEndian.AppendUint32(p.buf, uint32(v))
	default:
		p.long(big.NewInt(v))
	}
}

// long pushes a positive number of any size.
func (p *pickler) long(v *big.Int) {
	b := make([]byte, v.BitLen()/8+1) // one more bit than the number has, for the sign
	v.FillBytes(b)
	p.op(opLong1, byte(len(b)))
	for i := len(b) - 1; i >= 0; i-- {
		p.op(b[i])
	}
}

func (p *pickler) boolean(v bool) {
	if v {
		p.op(opTrue)
	} else {
		p.op(opFalse)
	}
}

// integers pushes a tuple of numbers.
func (p *pickler) integers(list []int64) {
	if len(list) == 0 {
		p.op(opEmptyTuple)
		return
	}
	if len(list) > 3 {
		p.op(opMark)
	}
	for _, v := range list {
		p.integer(v)
	}
	p.op([]byte{opTuple1, opTuple2, opTuple3, opTuple}[min(len(list), 4)-1])
	p.put()
}

// orderedDict pushes an empty OrderedDict.
func (p *pickler) orderedDict() {
	p.global("collections", "OrderedDict")
	p.op(opEmptyTuple, opReduce)
	p.put()
}

// batches writes n items in groups: item writes one, single and many close a group.
func (p *pickler) batches(n int, single, many byte, item func(i int)) {
	for from := 0; from < n; from += batch {
		to := min(from+batch, n)
		if to-from == 1 {
			item(from)
			p.op(single)
			return
		}
		p.op(opMark)
		for i := from; i < to; i++ {
			item(i)
		}
		p.op(many)
	}
}

var storageClass = map[checkpoint.DType]string{
	checkpoint.F32: "FloatStorage", checkpoint.BF16: "BFloat16Storage", checkpoint.F16: "HalfStorage",
}

// tensor pushes a tensor that is all of its storage. Legacy files add a view to the storage's id, always None here.
func (p *pickler) tensor(t tensor, key, location string, legacy bool) {
	p.global(torchUtilities, rebuildTensor)
	p.op(opMark)
	p.op(opMark)
	p.shared("storage")
	p.global("torch", storageClass[t.dtype])
	p.str(key)
	if location == "cpu" {
		p.shared(location)
	} else {
		p.str(location) // made anew for every storage: "cuda:" + index
	}
	p.integer(t.elements())
	if legacy {
		p.op(opNone)
	}
	p.op(opTuple)
	p.put()
	p.op(opPersistent)
	p.integer(0)
	p.integers(t.shape)
	p.integers(t.rowMajor())
	p.boolean(false)
	p.orderedDict()
	p.op(opTuple)
	p.put()
	p.op(opReduce)
	p.put()
}

// parameter pushes a Parameter around such a tensor.
func (p *pickler) parameter(t tensor, key, location string, legacy bool) {
	p.global(torchUtilities, rebuildParameter)
	p.tensor(t, key, location, legacy)
	p.boolean(true)
	p.orderedDict()
	p.op(opTuple3)
	p.put()
	p.op(opReduce)
	p.put()
}
