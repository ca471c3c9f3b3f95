package storage

import (
	"fmt"
	"io"
)

// Secret is a text that shows as *** wherever it is printed, logged or marshalled. string(s) is the text.
type Secret string

const masked = "***"

func (Secret) String() string               { return masked }
func (Secret) MarshalText() ([]byte, error) { return []byte(masked), nil }
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + masked + `"`), nil }

// Format covers the verbs that would not ask String, %d and %#v among them.
func (Secret) Format(s fmt.State, _ rune) {
	io.WriteString(s, masked) //nolint:errcheck // as fmt itself
}
