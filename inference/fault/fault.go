// Package fault is the one shape of an error that a user of the engine may see: a stable code, the field it is
// about, one public sentence that names the limit and the cure, and whether trying again can help.
//
// It knows no job, no HTTP and no file format; every other room builds its errors with it.
package fault

import (
	"errors"
	"fmt"
)

// Error is an error that may be shown to the caller of a job. Everything but Err is public; Err is the cause, for
// logs and errors.Is only.
type Error struct {
	Code      string // stable and snake_case, e.g. "missing_tensors"
	Field     string // the request field, setting or file it is about; may be empty
	Message   string // what is wrong, the limit and the cure, in one or two sentences
	Retryable bool   // true if the same request may succeed later
	Err       error
}

// New returns a fault that no retry will cure. The message is formatted as by fmt.Sprintf.
func New(code, field, format string, args ...any) *Error {
	return &Error{Code: code, Field: field, Message: fmt.Sprintf(format, args...)}
}

// Because returns a copy of e with err as its cause.
func (e *Error) Because(err error) *Error {
	c := *e
	c.Err = err
	return &c
}

// Again returns a copy of e that is marked as retryable.
func (e *Error) Again() *Error {
	c := *e
	c.Retryable = true
	return &c
}

func (e *Error) Error() string {
	s := e.Message
	if e.Field != "" {
		s = e.Field + ": " + s
	}
	if e.Err != nil {
		s += " (" + e.Err.Error() + ")"
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the first fault in err's chain, or "internal" if there is none.
func CodeOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return "internal"
}
