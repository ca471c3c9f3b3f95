// Package pack writes a copy of a checkpoint whose matrices are rounded to 16 bits: half the bytes to read from a slow
// volume. It promises that the copy is whole or not there, that it says which files it was made of, and that a file
// which it did not make is left alone.
//
// It must not know what a network computes; which tensors it needs is told.
package pack

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// Order is a copy to be made.
type Order struct {
	Source *checkpoint.Index
	Names  []string         // of the tensors to copy, with the source's names
	To     string           // the copy
	DType  checkpoint.DType // BF16 or F16, of the copy's matrices; what is no matrix is copied as it lies

	Fingerprint func(file string) (string, error) // tells files apart without reading them; see Check
	Progress    func(done, total int64)           // bytes read and written; may be nil
}

// Result is a copy that is there.
type Result struct {
	Path    string
	Bytes   int64
	Read    int64 // bytes of the tensors that it stands for
	Already bool  // it was there
}

// Write makes the copy, in little memory, under a temporary name; one that is there, whole and made of the same files is
// left. Two processes wait for each other. Faults: "unexpected_file" for a file that this package did not make,
// "nothing_to_pack", "overflow" for a number that the type does not hold, and "disk_full".
func Write(ctx context.Context, o Order) (r *Result, err error) {
	list, err := o.entries()
	if err != nil {
		return nil, err
	}
	r = &Result{Path: o.To}
	for _, e := range list {
		r.Read += e.from.Elements() * e.from.DType.Size()
	}
	lock := flock.New(filepath.Join(filepath.Dir(o.To), ".pack.lock"))
	if _, err := lock.TryLockContext(ctx, 100*time.Millisecond); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, notWritten(o.To, err)
	}
	defer lock.Unlock() //nolint:errcheck // closing the file does it too
	there, err := o.inTheWay()
	if err != nil {
		return nil, err
	}
	if r.Already = there; there {
		r.Bytes = sizeOf(o.To)
		return r, nil
	}
	if r.Bytes, err = o.write(ctx, list); err != nil {
		return nil, err
	}
	return r, nil
}

// inTheWay reports whether the copy is there already. A file that is not this package's is an error; one that is broken
// or made of other files is to be replaced.
func (o Order) inTheWay() (already bool, err error) {
	if _, err := os.Lstat(o.To); err != nil {
		return false, nil //nolint:nilerr // nothing is there; if it cannot be told, writing will
	}
	meta, err := readMetadata(o.To)
	if err != nil || meta[keyMade] == "" {
		return false, fault.New("unexpected_file", "", "%s is there and was not made by this program. It is left as it is: delete it, or move it away, and run the same command again", o.To)
	}
	return Check(o.To, o.Source.Files, o.DType, o.Fingerprint) == nil, nil
}

func (o Order) write(ctx context.Context, list []entry) (size int64, err error) {
	var total int64
	for _, file := range o.Source.Files {
		total += sizeOf(file)
	}
	for _, e := range list {
		size += e.bytes()
	}
	total += size
	if free, told := room(filepath.Dir(o.To)); told && free < size {
		return 0, fault.New("disk_full", "", "%s has %s free and the copy needs %s; make room, or take a larger volume", filepath.Dir(o.To), weights.Size(free), weights.Size(size))
	}
	done := int64(0)
	step := func(n int) error {
		done += int64(n)
		if o.Progress != nil {
			o.Progress(done, total)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil
	}
	sources, err := identify(o.Source.Files, o.Fingerprint, step)
	if err != nil {
		return 0, err
	}
	head, err := header(list, o.DType, sources)
	if err != nil {
		return 0, err
	}
	part := o.To + ".part" // one name, so that what a killed run left is written over; the lock guards it
	f, err := os.Create(part)
	if err != nil {
		return 0, notWritten(part, err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(part)
		}
	}()
	out := &sink{f: f}
	_, _ = out.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(head)))) // sink keeps the error
	_, _ = out.Write(head)
	for _, e := range list {
		if err := e.copy(out, step); err != nil {
			return 0, err
		}
		if out.err != nil {
			return 0, notWritten(part, out.err)
		}
	}
	if err := f.Sync(); err != nil {
		return 0, notWritten(part, err)
	}
	if err := f.Close(); err != nil {
		return 0, notWritten(part, err)
	}
	if err := os.Rename(part, o.To); err != nil {
		return 0, notWritten(o.To, err)
	}
	if d, err := os.Open(filepath.Dir(o.To)); err == nil { // makes the rename last, on file systems that can
		_ = d.Sync()
		_ = d.Close()
	}
	return out.n, nil
}

// sink counts and keeps the first error of writing, so that it is told from one of reading.
type sink struct {
	f   io.Writer
	n   int64
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.f.Write(p)
	s.n, s.err = s.n+int64(n), err
	return n, err
}

func notWritten(name string, err error) error {
	return fault.New("volume_failed", "", "%s cannot be written; check the volume's room and rights, and run the same command again", name).Because(err)
}

func room(dir string) (free int64, told bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return int64(min(float64(st.Bavail)*float64(st.Bsize), 1<<62)), true
}

func sizeOf(name string) int64 {
	st, err := os.Stat(name)
	if err != nil {
		return 0
	}
	return st.Size()
}

// entries are the tensors of the copy in their order: those with wider numbers first, which keeps all of them aligned, and
// then as they lie in the source, so that it is read once through.
func (o Order) entries() ([]entry, error) {
	var list []entry
	narrowed := false
	for _, name := range o.Names {
		t := o.Source.Lookup(name)
		if t == nil {
			return nil, fmt.Errorf("%s holds no tensor %s", o.Source.Path, name)
		}
		e := entry{name: name, from: t, dtype: t.DType}
		if t.DType == checkpoint.F32 && isMatrix(t) {
			e.dtype, narrowed = o.DType, true
		}
		list = append(list, e)
	}
	if !narrowed {
		return nil, fault.New("nothing_to_pack", "", "%s holds no matrix in F32: a packed copy would be no smaller, and the worker reads the file as it is", o.Source.Path)
	}
	sortEntries(list)
	return list, nil
}
