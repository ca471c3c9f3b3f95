package pack

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// entry is a tensor of the copy.
type entry struct {
	name  string
	from  *checkpoint.Tensor
	dtype checkpoint.DType
}

func (e entry) bytes() int64 { return e.from.Elements() * e.dtype.Size() }

// isMatrix tells what is multiplied with from biases, norms and modulations: a thousandth of the bytes, whose rounding
// would show most.
func isMatrix(t *checkpoint.Tensor) bool {
	return len(t.Shape) >= 2 && strings.HasSuffix(t.Name, "weight")
}

func sortEntries(list []entry) {
	slices.SortFunc(list, func(a, b entry) int {
		return cmp.Or(cmp.Compare(b.dtype.Size(), a.dtype.Size()), cmp.Compare(a.from.File, b.from.File),
			cmp.Compare(a.from.Offset, b.from.Offset), cmp.Compare(a.name, b.name))
	})
}

// chunk is how much is read at once.
const chunk = 4 << 20

// copy writes the tensor's numbers.
func (e entry) copy(out io.Writer, step func(bytes int) error) error {
	raw, err := e.open()
	if err != nil {
		return err
	}
	defer raw.Close() //nolint:errcheck // only read from
	in, narrow := make([]byte, min(chunk, e.from.Elements()*e.from.DType.Size())), make([]byte, chunk/2)
	for left := e.from.Elements() * e.from.DType.Size(); left > 0; left -= int64(len(in)) {
		in = in[:min(int64(len(in)), left)]
		if _, err := io.ReadFull(raw, in); err != nil {
			return fault.New("unreadable", e.from.File, "the tensor %s cannot be read; check the disk, and fetch the file again", e.name).Because(err)
		}
		written := in
		if e.dtype != e.from.DType {
			if written, err = e.narrow(narrow[:0], in); err != nil {
				return err
			}
		}
		if _, err := out.Write(written); err != nil {
			return nil // out keeps it: it is about another file
		}
		if err := step(len(written)); err != nil {
			return err
		}
	}
	return nil
}

// open is the tensor's bytes in row-major order. A view is small enough to be gathered in memory.
func (e entry) open() (io.ReadCloser, error) {
	if !e.from.Contiguous() {
		raw, err := e.from.Raw()
		return io.NopCloser(bytes.NewReader(raw)), err
	}
	f, err := os.Open(e.from.File)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, e.from.Offset, e.from.Elements()*e.from.DType.Size()), f}, nil
}

// narrow appends F32 numbers, rounded to the nearest 16-bit ones, ties to even. NaN stays NaN and infinity infinity; a
// number that would become infinite is the fault "overflow".
func (e entry) narrow(dst, src []byte) ([]byte, error) {
	infinity := uint16(0x7f80)
	if e.dtype == checkpoint.F16 {
		infinity = 0x7c00
	}
	for i := 0; i < len(src); i += 4 {
		b := binary.LittleEndian.Uint32(src[i:])
		v := math.Float32frombits(b)
		var h uint16
		switch {
		case b&0x7fffffff > 0x7f800000: // NaN: the sign, and quiet
			h = uint16(b>>16&0x8000) | infinity | 0x0200 | 0x0040
		case e.dtype == checkpoint.BF16:
			h = weights.ToBF16(v)
		case b&0x7fffffff == 0x7f800000:
			h = uint16(b>>16&0x8000) | infinity
		default:
			h = weights.ToF16(v)
		}
		if h&0x7fff == infinity && b&0x7fffffff != 0x7f800000 {
			return nil, fault.New("overflow", "dtype", "the tensor %s holds %g, which %s cannot: pack with --dtype bf16, or use the file as it is", e.name, v, e.dtype)
		}
		dst = binary.LittleEndian.AppendUint16(dst, h)
	}
	return dst, nil
}
