package runpod

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"runtime/debug"
	"strings"

	"github.com/rs/zerolog"
)

// answer is the body of a final post.
type answer struct {
	Output  json.RawMessage `json:"output,omitempty"`
	Error   string          `json:"error,omitempty"` // RunPod takes nothing but a text that is not empty
	StopPod bool            `json:"stopPod,omitempty"`
}

// bytes never fails: what cannot be posted becomes an error that says so.
func (s *session) bytes(a answer, log zerolog.Logger) (body []byte, failed bool) {
	body, err := Encode(a)
	limit := s.c.MaxResultBytes
	if err == nil && len(body) > limit {
		err = Fail("result_too_large", "The result has %d bytes of JSON, and RunPod takes %d at most: store it and answer with its address.", len(body), limit)
	}
	if err == nil {
		return body, a.Error != ""
	}
	log.Error().Msgf("The result cannot be posted: %s", err)
	a = s.failure(err)
	if body, err = Encode(a); err == nil && len(body) <= limit {
		return body, true
	}
	a.Output, a.Error = nil, clip(a.Error, 4096)
	body, _ = Encode(a) // texts only
	return body, true
}

// output puts a handler's output into JSON.
func output(v any) (json.RawMessage, error) {
	raw, err := Encode(v)
	if err != nil {
		return nil, Fail("invalid_result", "The result cannot be written as JSON: %s.", err)
	}
	return raw, nil
}

// failure is the answer that an error makes.
func (s *session) failure(err error) answer {
	f, ok := errors.AsType[Failure](err)
	if !ok {
		if p, ok := errors.AsType[*panicked](err); ok {
			return s.internal("panic", p.Error(), string(p.stack))
		}
		return s.internal(rootType(err), err.Error(), chain(err))
	}
	a := answer{Error: s.redact.Text(f.Error())}
	if strings.TrimSpace(a.Error) == "" {
		a.Error = "The job failed without a message."
	}
	if out := f.FailureOutput(); out != nil {
		if raw, err := Encode(out); err == nil {
			a.Output = s.redact.JSON(raw)
		}
	}
	return a
}

// internal is the answer to what nobody foresaw. Like RunPod's own worker it is the text of an object.
func (s *session) internal(kind, message, trace string) answer {
	return answer{Error: s.text(map[string]any{
		"error_type": kind, "error_message": s.redact.Text(clip(message, 4096)), "error_traceback": s.redact.Text(clip(trace, 8192)),
		"hostname": orUnknown(s.c.PodHostname), "worker_id": orUnknown(s.c.PodID), "runpod_version": s.version,
	})}
}

func (s *session) text(object map[string]any) string {
	raw, err := Encode(object)
	if err != nil {
		return fmt.Sprint(object["error_message"])
	}
	return string(raw)
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// Encode writes v as compact JSON in valid UTF-8, with the & of addresses as they are. Numbers that JSON does not have
// become null where the value is made of maps and lists. The panic of a value's own encoder is an error.
func Encode(v any) (raw []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			raw, err = nil, fmt.Errorf("writing %T as JSON panicked: %v", v, r)
		}
	}()
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err = encoder.Encode(v)
	if _, ok := errors.AsType[*json.UnsupportedValueError](err); ok {
		out.Reset()
		err = encoder.Encode(finite(reflect.ValueOf(v), 0))
	}
	if err != nil {
		return nil, err
	}
	return bytes.ToValidUTF8(bytes.TrimSpace(out.Bytes()), []byte("\ufffd")), nil
}

// finite copies maps and lists, with nil for NaN and infinities.
func finite(v reflect.Value, depth int) any {
	if !v.IsValid() || depth > 1000 {
		return nil
	}
	switch v.Kind() {
	case reflect.Float32, reflect.Float64:
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			return nil
		}
	case reflect.Interface, reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		if e := v.Elem(); e.Kind() != reflect.Struct { // a struct's own names are its own affair
			return finite(e, depth+1)
		}
	case reflect.Map:
		if v.Type().Key().Kind() != reflect.String || v.IsNil() {
			break
		}
		out := make(map[string]any, v.Len())
		for it := v.MapRange(); it.Next(); {
			out[it.Key().String()] = finite(it.Value(), depth+1)
		}
		return out
	case reflect.Slice, reflect.Array:
		if v.Kind() == reflect.Slice && (v.IsNil() || v.Type().Elem().Kind() == reflect.Uint8) {
			break
		}
		out := make([]any, v.Len())
		for i := range out {
			out[i] = finite(v.Index(i), depth+1)
		}
		return out
	}
	return v.Interface()
}

// rootType is the type of the error that started it all.
func rootType(err error) string {
	for errors.Unwrap(err) != nil {
		err = errors.Unwrap(err)
	}
	return fmt.Sprintf("%T", err)
}

// chain is the nearest thing to a traceback that an error has.
func chain(err error) string {
	var lines []string
	for ; err != nil; err = errors.Unwrap(err) {
		lines = append(lines, fmt.Sprintf("%T: %s", err, err))
	}
	return strings.Join(lines, "\n")
}

// clip keeps the beginning of a text.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + " …"
}

// panicked is a handler's panic.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprint(p.value) }

func caught(r any) *panicked { return &panicked{value: r, stack: debug.Stack()} }
