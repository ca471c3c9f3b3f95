//go:build !linux

package readahead

import "errors"

// Drop works on Linux only.
func Drop(string) error { return errors.ErrUnsupported }

// Cached works on Linux only.
func Cached(string) (int64, error) { return 0, errors.ErrUnsupported }
