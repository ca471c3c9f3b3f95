package checkpoint

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// What follows writes pickles and containers instruction by instruction, so that tests can also write wrong ones.

func pickleOf(instructions ...string) string {
	return "\x80\x02" + strings.Join(instructions, "") + "."
}

func le(n uint64, size int) string {
	return string(binary.LittleEndian.AppendUint64(nil, n)[:size])
}

func pyStr(s string) string { return "X" + le(uint64(len(s)), 4) + s }

func pyInt(n int64) string { return "\x8a\x08" + le(uint64(n), 8) }

func pyGlobal(module, name string) string { return "c" + module + "\n" + name + "\n" }

func pyTuple(items ...string) string { return "(" + strings.Join(items, "") + "t" }

func pyInts(ns ...int64) string {
	var items []string
	for _, n := range ns {
		items = append(items, pyInt(n))
	}
	return pyTuple(items...)
}

// pyDict takes keys, which are strings, and the instructions of their values.
func pyDict(keysAndValues ...string) string {
	s := "}("
	for i := 0; i < len(keysAndValues); i += 2 {
		s += pyStr(keysAndValues[i]) + keysAndValues[i+1]
	}
	return s + "u"
}

var noHooks = pyGlobal("collections", "OrderedDict") + ")R"

func pyStorage(class, key string, elements int64, view ...string) string {
	return pyTuple(append([]string{pyStr("storage"), pyGlobal("torch", class), pyStr(key), pyStr("cpu"), pyInt(elements)}, view...)...) + "Q"
}

func pyTensor(storage string, first int64, shape, stride []int64, more ...string) string {
	return pyGlobal("torch._utils", "_rebuild_tensor_v2") +
		pyTuple(append([]string{storage, pyInt(first), pyInts(shape...), pyInts(stride...), "\x89", noHooks}, more...)...) + "R"
}

// floats is a tensor of n F32 values in a storage of its own.
func floats(key string, n int64) string {
	return pyTensor(pyStorage("FloatStorage", key, n), 0, []int64{n}, []int64{1})
}

type zipEntry struct {
	name   string
	data   string
	hole   int64 // zeros after data, not held in memory
	method uint16
}

// sparse is a file in memory whose gaps are zeros.
type sparse struct {
	parts []string
	at    []int64
	size  int64
}

func (s *sparse) add(text string, hole int64) {
	s.parts, s.at = append(s.parts, text), append(s.at, s.size)
	s.size += int64(len(text)) + hole
}

func (s *sparse) ReadAt(p []byte, offset int64) (int, error) {
	n := int(max(0, min(int64(len(p)), s.size-offset)))
	clear(p[:n])
	for i, part := range s.parts {
		if from := s.at[i] - offset; from < int64(n) && from+int64(len(part)) > 0 {
			copy(p[max(from, 0):n], part[max(-from, 0):])
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (s *sparse) bytes() []byte {
	b := make([]byte, s.size)
	_, _ = s.ReadAt(b, 0)
	return b
}

// zipOf writes a zip file; with zip64, every size and offset is in the 64-bit fields.
func zipOf(zip64 bool, entries ...zipEntry) *sparse {
	s := &sparse{}
	var directory string
	for _, e := range entries {
		at, size := s.size, uint64(len(e.data))+uint64(e.hole)
		crc := crc32.ChecksumIEEE([]byte(e.data))
		short, local, central := size, "", ""
		offset := uint64(at)
		if zip64 {
			local = le(1, 2) + le(16, 2) + le(size, 8) + le(size, 8)
			central = le(1, 2) + le(24, 2) + le(size, 8) + le(size, 8) + le(offset, 8)
			short, offset = 0xffffffff, 0xffffffff
		}
		middle := le(0, 2) + le(uint64(e.method), 2) + le(0, 4) + le(uint64(crc), 4) + le(short, 4) + le(short, 4) + le(uint64(len(e.name)), 2)
		s.add("PK\x03\x04"+le(45, 2)+middle+le(uint64(len(local)), 2)+e.name+local+e.data, e.hole)
		directory += "PK\x01\x02" + le(45, 2) + le(45, 2) + middle + le(uint64(len(central)), 2) + le(0, 2) + le(0, 2) + le(0, 2) + le(0, 4) +
			le(offset, 4) + e.name + central
	}
	at, count := uint64(s.size), uint64(len(entries))
	s.add(directory, 0)
	size := uint64(len(directory))
	if zip64 {
		end := uint64(s.size)
		s.add("PK\x06\x06"+le(44, 8)+le(45, 2)+le(45, 2)+le(0, 4)+le(0, 4)+le(count, 8)+le(count, 8)+le(size, 8)+le(at, 8)+
			"PK\x06\x07"+le(0, 4)+le(end, 8)+le(1, 4), 0)
		at, count, size = 0xffffffff, 0xffff, 0xffffffff
	}
	s.add("PK\x05\x06"+le(0, 4)+le(count, 2)+le(count, 2)+le(size, 4)+le(at, 4)+le(0, 2), 0)
	return s
}

// torchZip wraps a pickle and storages, given as pairs of key and bytes.
func torchZip(pickle string, storages ...string) []byte {
	entries := []zipEntry{{name: "m/data.pkl", data: pickle}}
	for i := 0; i < len(storages); i += 2 {
		entries = append(entries, zipEntry{name: "m/data/" + storages[i], data: storages[i+1]})
	}
	return zipOf(false, entries...).bytes()
}

var legacyHead = pickleOf("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19") + pickleOf("M\xe9\x03") +
	pickleOf(pyDict("little_endian", "\x88"))

// torchLegacy wraps a pickle and storages of elements of size bytes, given as pairs of key and bytes.
func torchLegacy(pickle string, size int, storages ...string) []byte {
	list, data := "](", ""
	for i := 0; i < len(storages); i += 2 {
		list += pyStr(storages[i])
		data += le(uint64(len(storages[i+1])/size), 8) + storages[i+1]
	}
	return []byte(legacyHead + pickle + pickleOf(list+"e") + data)
}

func safetensorsOf(header, data string) []byte {
	return []byte(le(uint64(len(header)), 8) + header + data)
}

func inMemory(b []byte) *file {
	return &file{ReaderAt: bytes.NewReader(b), size: int64(len(b)), path: "/memory"}
}

// openBytes opens a file that exists only in memory.
func openBytes(b []byte) (*Index, error) { return openIndex(inMemory(b), "/memory") }

func write(t *testing.T, path string, b []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// wantFault checks the code and that the message holds every one of the parts.
func wantFault(t *testing.T, err error, code string, parts ...string) {
	t.Helper()
	if fault.CodeOf(err) != code {
		t.Fatalf("got %v (code %s), want a %s", err, fault.CodeOf(err), code)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not mention %q", err, part)
		}
	}
}
