package inference

import (
	"errors"
	"io"
)

// closing adds what Close reports to the error that a function is about to return.
func closing(c io.Closer, err *error) { *err = errors.Join(*err, c.Close()) }
