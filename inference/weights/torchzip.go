package weights

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
)

// torchZip is a state dict in torch.save's zip layout.
type torchZip struct {
	stem    string   // the archive's top folder: "archive", or the file's stem
	modern  bool     // with the records that torch writes from 2.1 on: byteorder, .format_version, serialization_id …
	modules []string // of a module's state dict: the paths that _metadata lists; nil: a plain OrderedDict
	tensors []tensor
}

// writeTo writes the archive: stored entries, data at multiples of 64 bytes, zip64 where offsets need it.
func (f torchZip) writeTo(out io.Writer) error {
	z := &zipWriter{w: newCounter(out), stem: f.stem}
	if err := z.record("data.pkl", f.pickle()); err != nil {
		return err
	}
	if f.modern {
		for _, r := range [][2]string{{".format_version", "1"}, {".storage_alignment", "64"}, {"byteorder", "little"}} {
			if err := z.record(r[0], []byte(r[1])); err != nil {
				return err
			}
		}
	}
	id := uint64(0)
	for i, t := range f.tensors {
		if err := z.entry("data/"+strconv.Itoa(i), t.bytes(), t.writeTo); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		id = mix(id ^ hash(t.name))
	}
	if err := z.record("version", []byte("3\n")); err != nil {
		return err
	}
	if f.modern {
		if err := z.record(".data/serialization_id", fmt.Appendf(nil, "%020d%020d", id, mix(id))); err != nil {
			return err
		}
	}
	return z.close()
}

func (f torchZip) pickle() []byte {
	p := newPickler()
	p.orderedDict()
	p.batches(len(f.tensors), opSetItem, opSetItems, func(i int) {
		p.str(f.tensors[i].name)
		p.tensor(f.tensors[i], strconv.Itoa(i), "cpu", false)
	})
	if f.modules != nil {
		p.op(opEmptyDict)
		p.put()
		p.str("_metadata")
		p.orderedDict()
		p.batches(len(f.modules), opSetItem, opSetItems, func(i int) {
			p.str(f.modules[i])
			p.op(opEmptyDict)
			p.put()
			p.shared("version")
			p.integer(1)
			p.op(opSetItem)
		})
		p.op(opSetItem, opBuild)
	}
	return p.finish()
}

// zipWriter writes a zip as torch's does: nothing is known of an entry's bytes in advance, so its checksum and sizes
// follow it in a data descriptor.
type zipWriter struct {
	w       *counter
	stem    string
	entries []zipEntry
}

type zipEntry struct {
	name   string
	size   uint32
	crc    uint32
	offset int64
	extra  []byte // zip64: the offset, where 32 bits do not hold it
}

const (
	alignment   = 64
	zipFlags    = 0x0808 // sizes in a descriptor, names in UTF-8
	zip32       = 0xffffffff
	zipMadeBy   = 0x031e // in the zip64 end record only, as torch does
	zip64Needed = 45
)

func (z *zipWriter) record(name string, data []byte) error {
	return z.entry(name, int64(len(data)), func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// entry writes one stored entry whose body writes exactly size bytes.
func (z *zipWriter) entry(name string, size int64, body func(io.Writer) error) error {
	if size >= zip32 {
		return errors.New("a storage of 4 GB and more is not supported by this writer")
	}
	e := zipEntry{name: z.stem + "/" + name, size: uint32(size), offset: z.w.n}
	if e.offset >= zip32 {
		e.extra = binary.LittleEndian.AppendUint16(e.extra, 1)
		e.extra = binary.LittleEndian.AppendUint16(e.extra, 8)
		e.extra = binary.LittleEndian.AppendUint64(e.extra, uint64(e.offset))
	}
	pad := -(e.offset + 30 + int64(len(e.name)+len(e.extra)) + 4) & (alignment - 1)
	le := binary.LittleEndian
	h := []byte("PK\x03\x04\x00\x00")
	h = le.AppendUint16(h, zipFlags)
	h = append(h, make([]byte, 18)...) // stored; no time; checksum and sizes follow the data
	h = le.AppendUint16(h, uint16(len(e.name)))
	h = le.AppendUint16(h, uint16(int64(len(e.extra))+4+pad))
	h = append(h, e.name...)
	h = append(h, e.extra...)
	h = append(h, 'F', 'B')
	h = le.AppendUint16(h, uint16(pad))
	for range pad {
		h = append(h, 'Z')
	}
	if _, err := z.w.Write(h); err != nil {
		return err
	}
	sum, from := crc32.NewIEEE(), z.w.n
	if err := body(io.MultiWriter(z.w, sum)); err != nil {
		return err
	}
	if z.w.n-from != size {
		return fmt.Errorf("wrote %d bytes, not the announced %d", z.w.n-from, size)
	}
	e.crc = sum.Sum32()
	z.entries = append(z.entries, e)
	d := le.AppendUint32([]byte("PK\x07\x08"), e.crc)
	d = le.AppendUint32(le.AppendUint32(d, e.size), e.size)
	_, err := z.w.Write(d)
	return err
}

// close writes the directory with its zip64 end, which torch always writes, and flushes.
func (z *zipWriter) close() error {
	le, start := binary.LittleEndian, z.w.n
	for _, e := range z.entries {
		h := []byte("PK\x01\x02\x00\x00\x00\x00")
		h = le.AppendUint16(h, zipFlags)
		h = append(h, make([]byte, 6)...)
		h = le.AppendUint32(h, e.crc)
		h = le.AppendUint32(le.AppendUint32(h, e.size), e.size)
		h = le.AppendUint16(h, uint16(len(e.name)))
		h = le.AppendUint16(h, uint16(len(e.extra)))
		h = append(h, make([]byte, 10)...) // no comment, disk 0, no attributes
		h = le.AppendUint32(h, uint32(min(e.offset, zip32)))
		h = append(h, e.name...)
		h = append(h, e.extra...)
		if _, err := z.w.Write(h); err != nil {
			return err
		}
	}
	end := z.w.n
	n, size := uint64(len(z.entries)), uint64(end-start)
	h := le.AppendUint64([]byte("PK\x06\x06"), 44)
	h = le.AppendUint16(le.AppendUint16(h, zipMadeBy), zip64Needed)
	h = append(h, make([]byte, 8)...)
	h = le.AppendUint64(le.AppendUint64(h, n), n)
	h = le.AppendUint64(le.AppendUint64(h, size), uint64(start))
	h = le.AppendUint64(append(h, "PK\x06\x07\x00\x00\x00\x00"...), uint64(end))
	h = le.AppendUint32(h, 1)
	h = append(h, "PK\x05\x06\x00\x00\x00\x00"...)
	short := uint16(min(n, 0xffff))
	h = le.AppendUint16(le.AppendUint16(h, short), short)
	h = le.AppendUint32(h, uint32(min(size, zip32)))
	h = le.AppendUint32(h, uint32(min(start, zip32)))
	h = le.AppendUint16(h, 0)
	if _, err := z.w.Write(h); err != nil {
		return err
	}
	return z.w.Flush()
}
