package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// maxHeader is room for 130,000 tensors. The format's reference reader allows 100 MB, but parsing takes a multiple.
const maxHeader = 16 << 20

// readSafetensors reads a safetensors header: its length as uint64, JSON that gives each tensor's dtype, shape and
// byte range, then the data. The ranges must cover the data without hole or overlap, as the format demands: so a
// file that is too short, too long or patched together is noticed here.
func readSafetensors(f *file) (map[string]*Tensor, error) {
	prefix, err := f.bytesAt(0, 8, "the header length")
	if err != nil {
		return nil, err
	}
	length := binary.LittleEndian.Uint64(prefix)
	if length > maxHeader {
		return nil, malformed("the header claims %d bytes; at most %d are read", length, maxHeader)
	}
	header, err := f.bytesAt(8, int64(length), "the header")
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(header, []byte("{")) {
		return nil, malformed("the header does not start with {")
	}
	entries, err := parseHeader(header)
	if err != nil {
		return nil, err
	}
	start := 8 + int64(length)
	if err := checkCoverage(entries, f.size-start); err != nil {
		return nil, err
	}
	tensors := make(map[string]*Tensor, len(entries))
	for _, e := range entries {
		tensors[e.name] = &Tensor{Name: e.name, DType: e.dtype, Shape: e.shape, Stride: rowMajor(e.shape),
			File: f.path, Offset: start + e.begin}
	}
	return tensors, nil
}

// entry is one tensor of a header; the range counts bytes from the end of the header.
type entry struct {
	name       string
	dtype      DType
	shape      []int64
	begin, end int64
}

func parseHeader(header []byte) ([]entry, error) {
	r, err := newJSONReader(header)
	if err != nil {
		return nil, err
	}
	var entries []entry
	err = r.object(func(name string) error {
		if name == "__metadata__" {
			return r.skip()
		}
		e, err := parseEntry(r, name)
		entries = append(entries, e)
		return err
	})
	if err != nil {
		return nil, err
	}
	return entries, r.end()
}

func parseEntry(r *jsonReader, name string) (entry, error) {
	e := entry{name: name}
	var dtype string
	var offsets []int64
	err := r.object(func(key string) (err error) {
		switch key {
		case "dtype":
			dtype, err = r.string()
		case "shape":
			e.shape, err = r.ints(maxRank)
		case "data_offsets":
			offsets, err = r.ints(2)
		default:
			err = r.skip()
		}
		return err
	})
	if err != nil {
		return e, err
	}
	if dtype == "" || e.shape == nil || len(offsets) != 2 {
		return e, malformed("tensor %s lacks its dtype, shape or data_offsets", quote(name))
	}
	if e.dtype = dtypeNamed(dtype); e.dtype == Invalid {
		return e, unsupported("tensor %s has the dtype %s, which is not read here; convert it to F32, F16 or BF16",
			quote(name), quote(dtype))
	}
	e.begin, e.end = offsets[0], offsets[1]
	size, ok := byteSize(e.shape, e.dtype)
	if !ok || e.end < e.begin || e.end-e.begin != size {
		return e, malformed("tensor %s: %s%v does not fit its byte range [%d, %d)", quote(name), e.dtype, e.shape, e.begin, e.end)
	}
	return e, nil
}

func dtypeNamed(name string) DType {
	for d := F32; d <= Bool; d++ {
		if d.String() == name {
			return d
		}
	}
	return Invalid
}

// checkCoverage checks that the entries cover size bytes of data exactly once.
func checkCoverage(entries []entry, size int64) error {
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	var covered int64
	for _, e := range entries {
		if e.begin != covered {
			return malformed("tensor %s starts at byte %d of the data, but the tensors before it end at %d",
				quote(e.name), e.begin, covered)
		}
		covered = e.end
	}
	if covered > size {
		return truncated("the tensors need %d bytes of data, but the file has %d", covered, size)
	}
	if covered < size {
		return malformed("%d bytes of data belong to no tensor", size-covered)
	}
	return nil
}
