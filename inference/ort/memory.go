package ort

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// allocated is the number of bytes that allocate has given out and not got back.
var allocated atomic.Int64

// allocate returns size zero bytes outside Go's heap and the function that returns them to the system.
//
// Not Go memory, because activations are large and short-lived: the collector lets the heap grow to twice what is
// alive before it looks, which for the VAE's caches would be gigabytes, and it would fill pages with zeros that the
// model overwrites.
func allocate(size int64) ([]byte, func() error, error) {
	if size == 0 {
		return []byte{}, nil, nil
	}
	data, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, nil, err
	}
	preferHugePages(data)
	allocated.Add(size)
	return data, func() error {
		allocated.Add(-size)
		return unix.Munmap(data)
	}, nil
}
