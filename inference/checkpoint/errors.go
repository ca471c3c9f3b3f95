package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// The codes of the faults that this package returns. Field is always the path of the file.
const (
	CodeMissing         = "checkpoint_missing"          // a file, or a tensor that an index promises, is not there
	CodeTruncated       = "checkpoint_truncated"        // the file ends too early
	CodeMalformed       = "checkpoint_malformed"        // the bytes contradict the format
	CodeForbiddenGlobal = "checkpoint_forbidden_global" // a pickle names something outside the allow-list
	CodeUnsupported     = "checkpoint_unsupported"      // well formed, but outside what is read here
	CodeUnreadable      = "checkpoint_unreadable"       // the operating system refused
)

func malformed(format string, args ...any) error {
	return fault.New(CodeMalformed, "", "%s; the file is damaged or no checkpoint: fetch it again",
		fmt.Sprintf(format, args...))
}

func truncated(format string, args ...any) error {
	return fault.New(CodeTruncated, "", "%s; the file is incomplete: fetch it again", fmt.Sprintf(format, args...))
}

func unsupported(format string, args ...any) error {
	return fault.New(CodeUnsupported, "", format, args...)
}

// unread turns the error of a read into a fault; what names the part that was wanted.
func unread(what string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return truncated("the file ends inside %s", what)
	}
	return fault.New(CodeUnreadable, "", "%s cannot be read", what).Because(err).Again()
}

// inFile names the file in a fault that was found without knowing it.
func inFile(path string, err error) error {
	var e *fault.Error
	if !errors.As(err, &e) || e.Field != "" {
		return err
	}
	named := *e
	named.Field = path
	return &named
}

// quote shows a foreign string: escaped, so that it cannot forge log lines, and cut, so that it cannot flood them.
func quote(s string) string {
	const most = 120
	if len(s) > most {
		return fmt.Sprintf("%q… (%d bytes)", s[:most], len(s))
	}
	return fmt.Sprintf("%q", s)
}

// quoteSome lists the first few of many foreign names.
func quoteSome(names []string) string {
	const most = 5
	shown := make([]string, 0, most)
	for _, n := range names[:min(most, len(names))] {
		shown = append(shown, quote(n))
	}
	s := strings.Join(shown, ", ")
	if more := len(names) - len(shown); more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}
