package checkpoint

import (
	"encoding/binary"
	"math/big"
)

// legacyMagic is the number 0x1950a86a20f9469cfc6c that starts a file in torch's legacy layout.
var legacyMagic, _ = new(big.Int).SetString("1950a86a20f9469cfc6c", 16)

const legacyProtocol = 1001

// readTorchLegacy reads torch's layout from before version 1.6: five pickles (the magic number, the protocol, facts
// about the writing system, the object, the list of storage keys), then for each key in the order of that list an
// int64 count of elements and the elements.
func readTorchLegacy(f *file, ix *Index) error {
	src := newPickleSource(f, 0, f.size)
	if err := checkLegacyHead(src); err != nil {
		return err
	}
	begin := src.pos
	root, storages, err := unpickle(src)
	if err != nil {
		return err
	}
	pickleBytes := src.pos - begin
	keys, _, err := unpickle(src)
	if err != nil {
		return err
	}
	at, err := placeLegacy(f, src.pos, keys, storages)
	if err != nil {
		return err
	}
	return nameLeaves(root, f.path, at, pickleBytes, ix)
}

// checkLegacyHead reads the first three pickles.
func checkLegacyHead(src *pickleSource) error {
	var head [3]any
	for i := range head {
		v, _, err := unpickle(src)
		if err != nil {
			return err
		}
		head[i] = v
		if magic, ok := v.(*big.Int); i == 0 && (!ok || magic.Cmp(legacyMagic) != 0) {
			return malformed("the file starts with a pickle, but not with torch's magic number")
		}
	}
	if head[1] != int64(legacyProtocol) {
		return malformed("the legacy torch file does not have the protocol %d", legacyProtocol)
	}
	facts, ok := head[2].(*dict)
	if !ok {
		return malformed("the legacy torch file has no facts about the system that wrote it")
	}
	for i, key := range facts.keys {
		if key == "little_endian" && facts.values[i] != true {
			return unsupported("the file was written on a big-endian machine; save it on a little-endian one")
		}
	}
	return nil
}

// placeLegacy returns the byte offset of each storage. The list must name exactly the storages that the object uses.
func placeLegacy(f *file, pos int64, keys any, storages map[string]storage) (map[string]int64, error) {
	names, ok := keys.(*list)
	if !ok || len(names.items) != len(storages) {
		return nil, malformed("the file does not list the %d storages that its tensors use", len(storages))
	}
	at := make(map[string]int64, len(storages))
	for _, item := range names.items {
		key, _ := item.(string)
		s, ok := storages[key]
		if _, twice := at[key]; !ok || twice {
			return nil, malformed("the file lists the storage %s, which its tensors do not use or which it listed before", quote(key))
		}
		count, err := f.bytesAt(pos, 8, "the size of the storage "+quote(key))
		if err != nil {
			return nil, err
		}
		if n := int64(binary.LittleEndian.Uint64(count)); n != s.elements {
			return nil, malformed("the storage %s has %d elements, but its tensors expect %d", quote(key), n, s.elements)
		}
		pos += 8
		size := s.elements * s.dtype.Size()
		if size > f.size-pos {
			return nil, truncated("the storage %s needs %d bytes at %d, but the file has %d", quote(key), size, pos, f.size)
		}
		at[key] = pos
		pos += size
	}
	return at, nil
}
