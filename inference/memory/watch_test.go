package memory

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// A peak is seen after the memory is gone again, until it is reset.
func TestWatcherKeepsThePeak(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells what a process holds")
	}
	const size = 64 << 20
	before := Now().Anonymous
	w := Watch()
	data, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < size; i += 4096 {
		data[i] = 1
	}
	w.sample()
	if err := unix.Munmap(data); err != nil {
		t.Fatal(err)
	}
	w.sample()
	if w.peak.Anonymous < before+size*9/10 || w.peak.Total < w.peak.Anonymous {
		t.Errorf("peak %+v, began with %d", w.peak, before)
	}
	if peak := w.Stop(); peak.Anonymous < before+size*9/10 {
		t.Errorf("the memory that was given back is forgotten: %+v, began with %d", peak, before)
	}
}
