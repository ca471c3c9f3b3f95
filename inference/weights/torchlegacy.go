package weights

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"sort"
	"strconv"
)

// torchLegacy is a state dict of Parameters in torch.save's layout from before the zip, in which the published VAE
// comes: five pickles, then every storage with its element count, in the order of the storage keys.
type torchLegacy struct {
	location string // the device tag of the storages
	tensors  []tensor
}

func (f torchLegacy) writeTo(out io.Writer) error {
	keys := storageKeys(f.tensors)
	order := make([]int, len(keys)) // of the data
	for i := range order {
		order[i] = i
	}
	sort.Slice(order, func(a, b int) bool { return keys[order[a]] < keys[order[b]] })

	magic, _ := new(big.Int).SetString("1950a86a20f9469cfc6c", 16)
	first := newPickler()
	first.long(magic)
	second := newPickler()
	second.integer(1001)
	object := newPickler()
	object.orderedDict()
	object.batches(len(f.tensors), opSetItem, opSetItems, func(i int) {
		object.str(f.tensors[i].name)
		object.parameter(f.tensors[i], keys[i], f.location, true)
	})
	list := newPickler()
	list.op(opEmptyList)
	list.put()
	list.batches(len(order), opAppend, opAppends, func(i int) { list.str(keys[order[i]]) })

	w := newCounter(out)
	for _, p := range []*pickler{first, second, systemFacts(), object, list} {
		if _, err := w.Write(p.finish()); err != nil {
			return err
		}
	}
	for _, i := range order {
		t := f.tensors[i]
		if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(t.elements()))); err != nil {
			return err
		}
		if err := t.writeTo(w); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return w.Flush()
}

func systemFacts() *pickler {
	p := newPickler()
	p.op(opEmptyDict)
	p.put()
	p.op(opMark)
	p.str("protocol_version")
	p.integer(1001)
	p.str("little_endian")
	p.boolean(true)
	p.str("type_sizes")
	p.op(opEmptyDict)
	p.put()
	p.op(opMark)
	for _, s := range []struct {
		name string
		size int64
	}{{"short", 2}, {"int", 4}, {"long", 4}} {
		p.str(s.name)
		p.integer(s.size)
	}
	p.op(opSetItems, opSetItems)
	return p
}

// storageKeys makes keys that look like the addresses torch uses: 14 digits, in no relation to the tensors' order.
func storageKeys(tensors []tensor) []string {
	keys, seen := make([]string, len(tensors)), map[uint64]bool{}
	for i, t := range tensors {
		address := 93_000_000_000_000 + hash(t.name)%1_000_000_000_000/16*16
		for seen[address] {
			address += 16
		}
		seen[address] = true
		keys[i] = strconv.FormatUint(address, 10)
	}
	return keys
}
