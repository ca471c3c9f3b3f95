package checkpoint

import (
	"archive/zip"
	"errors"
	"io"
	"strings"
)

// maxDirectory bounds what is read of a zip file beside its entries' data. 1,600 tensors need 0.3 MB.
const maxDirectory = 64 << 20

// readTorchZip reads torch's zip layout: uncompressed entries STEM/data.pkl and STEM/data/KEY, and in newer files
// STEM/byteorder. STEM is arbitrary. Checksums are not compared: torch has an option to leave them out, and the
// pickle is checked value by value anyhow.
func readTorchZip(f *file, ix *Index) error {
	archive, err := openArchive(f)
	if err != nil {
		return err
	}
	if err := archive.checkByteOrder(); err != nil {
		return err
	}
	offset, size, err := archive.find("data.pkl")
	if err != nil {
		return err
	}
	src := newPickleSource(f, offset, size)
	root, storages, err := unpickle(src)
	if err != nil {
		return err
	}
	at := make(map[string]int64, len(storages))
	for key, s := range storages {
		offset, size, err := archive.find("data/" + key)
		if err != nil {
			return err
		}
		if want := s.elements * s.dtype.Size(); size != want {
			return malformed("the storage %s has %d bytes, but its tensors expect %d", quote(key), size, want)
		}
		at[key] = offset
	}
	return nameLeaves(root, f.path, at, src.pos-offset, ix)
}

// torchArchive is the table of contents of a zip file.
type torchArchive struct {
	f       *file
	stem    string
	entries map[string]*zip.File
}

func openArchive(f *file) (*torchArchive, error) {
	z, err := zip.NewReader(&boundedReader{f, maxDirectory}, f.size)
	if err != nil {
		return nil, brokenZip("the zip directory at its end", err)
	}
	a := &torchArchive{f: f, entries: make(map[string]*zip.File, len(z.File))}
	stems := 0
	for _, e := range z.File {
		if a.entries[e.Name] != nil {
			return nil, malformed("the zip file has the entry %s twice", quote(e.Name))
		}
		a.entries[e.Name] = e
		if stem, ok := strings.CutSuffix(e.Name, "/data.pkl"); ok && !strings.Contains(stem, "/") {
			a.stem = stem
			stems++
		}
	}
	if stems != 1 {
		return nil, malformed("the zip file has %d entries of the form NAME/data.pkl; a torch file has one", stems)
	}
	return a, nil
}

// find returns where the bytes of an entry lie.
func (a *torchArchive) find(name string) (offset, size int64, err error) {
	name = a.stem + "/" + name
	e := a.entries[name]
	if e == nil {
		return 0, 0, malformed("the zip file lacks the entry %s", quote(name))
	}
	const encrypted = 1
	if e.Method != zip.Store || e.Flags&encrypted != 0 || e.CompressedSize64 != e.UncompressedSize64 {
		return 0, 0, unsupported("the zip entry %s is compressed or encrypted, so its bytes cannot be used where they lie; "+
			"save the file with torch.save", quote(name))
	}
	if offset, err = e.DataOffset(); err != nil {
		return 0, 0, brokenZip("the zip entry "+quote(name), err)
	}
	if offset < 0 || offset > a.f.size || e.UncompressedSize64 > uint64(a.f.size-offset) {
		return 0, 0, truncated("the zip entry %s needs %d bytes at %d, but the file has %d", quote(name),
			e.UncompressedSize64, offset, a.f.size)
	}
	return offset, int64(e.UncompressedSize64), nil
}

// checkByteOrder refuses big-endian files. Files without the entry are older than big-endian support.
func (a *torchArchive) checkByteOrder() error {
	if a.entries[a.stem+"/byteorder"] == nil {
		return nil
	}
	offset, size, err := a.find("byteorder")
	if err != nil {
		return err
	}
	order, err := a.f.bytesAt(offset, min(size, 16), "the byte order")
	if err == nil && string(order) != "little" {
		err = unsupported("the byte order is %s; only little is read: save the file on a little-endian machine",
			quote(string(order)))
	}
	return err
}

func brokenZip(what string, err error) error {
	if errors.Is(err, errTooMuch) {
		return malformed("%s takes more than %d bytes", what, maxDirectory)
	}
	// The directory ends a zip file, so a broken download has none.
	if errors.Is(err, zip.ErrFormat) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return truncated("%s is missing or damaged", what)
	}
	return unread(what, err)
}

var errTooMuch = errors.New("zip directory too large")

// boundedReader stops a zip directory that would fill memory or points before the file; archive/zip checks neither.
type boundedReader struct {
	io.ReaderAt
	left int
}

func (r *boundedReader) ReadAt(p []byte, offset int64) (int, error) {
	if offset < 0 {
		return 0, zip.ErrFormat
	}
	if r.left -= len(p); r.left < 0 {
		return 0, errTooMuch
	}
	return r.ReaderAt.ReadAt(p, offset)
}
