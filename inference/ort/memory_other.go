//go:build !linux

package ort

// preferHugePages does nothing where the system decides by itself.
func preferHugePages([]byte) {}
