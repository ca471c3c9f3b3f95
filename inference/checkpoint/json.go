package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"unicode/utf8"
)

// jsonReader walks foreign JSON token by token. encoding/json into a struct or a map would take null for zero, keep
// the last of two equal keys and ignore the case of field names; a checkpoint gets none of that benefit of the doubt.
type jsonReader struct{ dec *json.Decoder }

func newJSONReader(text []byte) (*jsonReader, error) {
	if !utf8.Valid(text) {
		return nil, malformed("the JSON is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	return &jsonReader{dec}, nil
}

// object calls field for each key; field must consume the value. Repeated keys are refused.
func (r *jsonReader) object(field func(key string) error) error {
	if err := r.delim('{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for r.dec.More() {
		key, err := r.string()
		if err != nil {
			return err
		}
		if seen[key] {
			return malformed("the JSON has the key %s twice", quote(key))
		}
		seen[key] = true
		if err := field(key); err != nil {
			return err
		}
	}
	return r.delim('}')
}

func (r *jsonReader) string() (string, error) {
	tok, err := r.token()
	if err != nil {
		return "", err
	}
	s, ok := tok.(string)
	if !ok {
		return "", malformed("the JSON has %s where a string belongs", shown(tok))
	}
	return s, nil
}

// ints reads an array of at most most non-negative integers.
func (r *jsonReader) ints(most int) ([]int64, error) {
	if err := r.delim('['); err != nil {
		return nil, err
	}
	list := []int64{}
	for r.dec.More() {
		tok, err := r.token()
		if err != nil {
			return nil, err
		}
		number, _ := tok.(json.Number)
		n, err := strconv.ParseInt(number.String(), 10, 64)
		if err != nil || n < 0 {
			return nil, malformed("the JSON has %s where a size or an offset belongs", shown(tok))
		}
		if len(list) == most {
			return nil, malformed("the JSON has an array of more than %d numbers", most)
		}
		list = append(list, n)
	}
	return list, r.delim(']')
}

// skip consumes a value of any kind.
func (r *jsonReader) skip() error {
	var any json.RawMessage
	if err := r.dec.Decode(&any); err != nil {
		return notJSON(err)
	}
	return nil
}

// end checks that nothing but white space follows.
func (r *jsonReader) end() error {
	if _, err := r.dec.Token(); !errors.Is(err, io.EOF) {
		return malformed("the JSON is followed by something else")
	}
	return nil
}

func (r *jsonReader) delim(want json.Delim) error {
	tok, err := r.token()
	if err != nil {
		return err
	}
	if tok != want {
		return malformed("the JSON has %s where %s belongs", shown(tok), want)
	}
	return nil
}

func (r *jsonReader) token() (json.Token, error) {
	tok, err := r.dec.Token()
	if err != nil {
		return nil, notJSON(err)
	}
	return tok, nil
}

func notJSON(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return truncated("the JSON ends too early")
	}
	return malformed("the JSON cannot be parsed (%s)", quote(err.Error()))
}

func shown(tok json.Token) string {
	switch v := tok.(type) {
	case nil:
		return "null"
	case json.Delim:
		return v.String()
	case json.Number:
		return quote(v.String())
	case string:
		return quote(v)
	default: // the only kind left is bool
		return strconv.FormatBool(v == true)
	}
}
