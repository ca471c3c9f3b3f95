package handler

import (
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// integerRule is a whole number; 97.0 is one too, because some clients know only floats.
type integerRule struct {
	to        func(*Request) *int
	low, high int
	hint      string // empty: the default
}

func (i integerRule) read(d *draft, name string, value json.RawMessage) {
	hint := i.hint
	if hint == "" {
		base := defaults(d.Variant)
		hint = "the default is " + strconv.Itoa(*i.to(&base))
	}
	if v, ok := d.integer(name, value, i.low, i.high, hint); ok {
		*i.to(&d.Request) = v
	}
}

func (i integerRule) schema(base *Request) *schema {
	return &schema{Type: "integer", Minimum: whole(i.low), Maximum: whole(i.high), Default: *i.to(base)}
}

func (d *draft) integer(name string, value json.RawMessage, low, high int, hint string) (int, bool) {
	v, ok := wholeNumber(value)
	switch {
	case !ok:
		d.complain(CodeWrongType, name, "must be a whole number from %d to %d (%s)", low, high, hint)
	case v.Cmp(big.NewInt(int64(low))) < 0 || v.Cmp(big.NewInt(int64(high))) > 0:
		d.complain(CodeOutOfRange, name, "is %s; it must be from %d to %d (%s)", shorten(v.String()), low, high, hint)
	default:
		return int(v.Int64()), true
	}
	return 0, false
}

// wholeNumber reads a JSON number without a fraction, of at most 40 characters: 1e9999999 would be a large allocation.
func wholeNumber(value json.RawMessage) (*big.Int, bool) {
	if len(value) == 0 || len(value) > 40 || value[0] == '"' {
		return nil, false
	}
	if v, ok := new(big.Int).SetString(string(value), 10); ok {
		return v, true
	}
	f, err := strconv.ParseFloat(string(value), 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return nil, false
	}
	return big.NewInt(int64(f)), true
}

// framesRule is a number of frames, or "auto". The original writes -1 for auto.
type framesRule struct{}

func (framesRule) read(d *draft, name string, value json.RawMessage) {
	if string(value) == `"auto"` || strings.Contains(name, ".") && string(value) == "-1" {
		d.Frames = 0
		return
	}
	if v, ok := d.integer(name, value, 1, MaxFrames, `"auto" is the length of the audio`); ok {
		d.Frames = v
	}
}

func (framesRule) schema(base *Request) *schema {
	return &schema{Default: base.Frames, AnyOf: []*schema{
		{Type: "integer", Minimum: whole(1), Maximum: whole(MaxFrames)},
		{Const: "auto"},
	}}
}

// sizeRule is a width or height.
type sizeRule struct{ to func(*Request) *int }

func (s sizeRule) read(d *draft, name string, value json.RawMessage) {
	v, ok := wholeNumber(value)
	switch {
	case !ok:
		d.complain(CodeWrongType, name, "must be a whole number of pixels, a multiple of %d from %d to %d", SizeStep, SizeStep, MaxSize)
	case v.Cmp(big.NewInt(SizeStep)) < 0 || v.Cmp(big.NewInt(MaxSize)) > 0:
		d.complain(CodeInvalidSize, name, "is %s; it must be a multiple of %d from %d to %d", shorten(v.String()), SizeStep, SizeStep, MaxSize)
	default:
		pixels := int(v.Int64())
		if rest := pixels % SizeStep; rest != 0 {
			d.complain(CodeInvalidSize, name, "is %d, which is not a multiple of %d; use %s (the limit is %d)",
				pixels, SizeStep, neighbours(pixels-rest), MaxSize)
		}
		*s.to(&d.Request) = pixels
	}
}

// neighbours spells the multiples around a size.
func neighbours(below int) string {
	if above := below + SizeStep; above <= MaxSize {
		return strconv.Itoa(below) + " or " + strconv.Itoa(above)
	}
	return strconv.Itoa(below)
}

func (s sizeRule) schema(base *Request) *schema {
	return &schema{Type: "integer", Minimum: whole(SizeStep), Maximum: whole(MaxSize), MultipleOf: SizeStep, Default: *s.to(base)}
}

// numberRule is any number between two.
type numberRule struct {
	to        func(*Request) *float64
	low, high float64
	hint      string // empty: the default
}

func (n numberRule) read(d *draft, name string, value json.RawMessage) {
	hint := n.hint
	if hint == "" {
		base := defaults(d.Variant)
		hint = "the default is " + strconv.FormatFloat(*n.to(&base), 'g', -1, 64)
	}
	var v float64
	switch {
	case json.Unmarshal(value, &v) != nil: // JSON has no NaN and no infinity
		d.complain(CodeWrongType, name, "must be a number from %g to %g (%s)", n.low, n.high, hint)
	case v < n.low || v > n.high:
		d.complain(CodeOutOfRange, name, "is %g; it must be from %g to %g (%s)", v, n.low, n.high, hint)
	default:
		*n.to(&d.Request) = v
	}
}

func (n numberRule) schema(base *Request) *schema {
	s := &schema{Type: "number", Minimum: real(n.low), Maximum: real(n.high)}
	if n.hint == "" {
		s.Default = *n.to(base)
	}
	return s
}

// seedRule is any unsigned number of 64 bits.
type seedRule struct{}

func (seedRule) read(d *draft, name string, value json.RawMessage) {
	v, ok := wholeNumber(value)
	switch {
	case !ok:
		d.complain(CodeWrongType, name, "must be a whole number from 0 to %s; leave it out for a random one", maxSeed)
	case !v.IsUint64():
		d.complain(CodeOutOfRange, name, "is %s; it must be from 0 to %s; leave it out for a random one", shorten(v.String()), maxSeed)
	default:
		d.Seed = v.Uint64()
	}
}

func (seedRule) schema(*Request) *schema {
	return &schema{Type: "integer", Minimum: whole(0), Maximum: json.Number(maxSeed)}
}

// secondsRule is a length of time in whole seconds.
type secondsRule struct {
	to        func(*Request) *time.Duration
	low, high time.Duration
}

func (s secondsRule) read(d *draft, name string, value json.RawMessage) {
	if v, ok := d.integer(name, value, int(s.low.Seconds()), int(s.high.Seconds()), "in seconds"); ok {
		*s.to(&d.Request) = time.Duration(v) * time.Second
	}
}

func (s secondsRule) schema(*Request) *schema {
	return &schema{Type: "integer", Minimum: whole(int(s.low.Seconds())), Maximum: whole(int(s.high.Seconds()))}
}
