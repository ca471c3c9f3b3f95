package handler

import (
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/humo-worker/humo-worker/inference"
)

// field is one field of the contract.
type field struct {
	name    string
	aliases []string // names in the original's configuration
	read    func(d *draft, name string, value json.RawMessage)
}

// fields are those of the contract, in its order.
var fields = []field{
	{"mode", nil, func(d *draft, name string, value json.RawMessage) {
		d.Mode = inference.Mode(d.oneOf(name, value, string(inference.TA), string(inference.TIA)))
	}},
	{"variant", nil, func(d *draft, name string, value json.RawMessage) {
		if v := d.oneOf(name, value, string(inference.Variant1B), string(inference.Variant17B)); v != "" {
			d.Variant = inference.Variant(v)
		}
	}},
	{"prompt", nil, func(d *draft, name string, value json.RawMessage) { d.Prompt = d.prompt(name, value) }},
	{"negative_prompt", nil, func(d *draft, name string, value json.RawMessage) { d.NegativePrompt = d.prompt(name, value) }},
	{"audio", []string{"audio_path"}, func(d *draft, name string, value json.RawMessage) {
		d.Audio = d.source(name, value, isPathAlias(name))
	}},
	{"images", []string{"img_paths", "image_path"}, func(d *draft, name string, value json.RawMessage) { d.Images = d.images(name, value) }},
	{"frames", nil, func(d *draft, name string, value json.RawMessage) {
		if string(value) == `"auto"` {
			d.Frames = 0
			return
		}
		d.integer(&d.Frames, name, value, 1, MaxFrames, `"auto" is the length of the audio`)
	}},
	{"width", nil, func(d *draft, name string, value json.RawMessage) { d.size(&d.Width, name, value) }},
	{"height", nil, func(d *draft, name string, value json.RawMessage) { d.size(&d.Height, name, value) }},
	{"fps", nil, func(d *draft, name string, value json.RawMessage) {
		d.integer(&d.FPS, name, value, 1, MaxFPS, "the model was trained at 25")
	}},
	{"steps", nil, func(d *draft, name string, value json.RawMessage) {
		d.integer(&d.Steps, name, value, 1, MaxSteps, "the default is 50")
	}},
	{"shift", nil, func(d *draft, name string, value json.RawMessage) {
		d.number(&d.Shift, name, value, 0.1, 100, "the default is 5")
	}},
	{"seed", nil, func(d *draft, name string, value json.RawMessage) { d.seed(name, value) }},
	{"scale_t", nil, func(d *draft, name string, value json.RawMessage) { d.scale(&d.Scales.Text, name, value) }},
	{"scale_a", nil, func(d *draft, name string, value json.RawMessage) { d.scale(&d.Scales.Audio, name, value) }},
	{"scale_i", nil, func(d *draft, name string, value json.RawMessage) { d.scale(&d.Scales.Image, name, value) }},
	{"output", nil, func(d *draft, name string, value json.RawMessage) { d.output(name, value) }},
	{"dry_run", nil, func(d *draft, name string, value json.RawMessage) {
		if json.Unmarshal(value, &d.DryRun) != nil {
			d.complain(CodeWrongType, name, "must be true or false")
		}
	}},
}

// outputFields are the fields of "output".
var outputFields = []string{"format", "crf"}

func names(fields []field) []string {
	var all []string
	for _, f := range fields {
		all = append(append(all, f.name), f.aliases...)
	}
	return all
}

// isPathAlias tells the names under which the original's configuration holds plain paths.
func isPathAlias(name string) bool {
	return strings.HasSuffix(name, "_path") || strings.HasSuffix(name, "_paths")
}

func (d *draft) text(name string, value json.RawMessage, what string) (string, bool) {
	var s string
	if json.Unmarshal(value, &s) != nil {
		d.complain(CodeWrongType, name, "must be %s", what)
		return "", false
	}
	return s, true
}

func (d *draft) oneOf(name string, value json.RawMessage, values ...string) string {
	what := `"` + strings.Join(values, `" or "`) + `"`
	s, ok := d.text(name, value, what)
	if !ok {
		return ""
	}
	for _, v := range values {
		if s == v {
			return v
		}
	}
	d.complain(CodeUnknownValue, name, "is %q; it must be %s", shorten(s), what)
	return ""
}

func (d *draft) prompt(name string, value json.RawMessage) string {
	s, _ := d.text(name, value, "text")
	if n := utf8.RuneCountInString(s); n > MaxPrompt {
		d.complain(CodeOutOfRange, name, "has %d characters; the limit is %d: shorten it (the model reads 512 tokens at most)", n, MaxPrompt)
	}
	return s
}

// integer reads a whole number; 97.0 is one too, because some clients know only floats.
func (d *draft) integer(to *int, name string, value json.RawMessage, low, high int, hint string) bool {
	v, ok := wholeNumber(value)
	switch {
	case !ok:
		d.complain(CodeWrongType, name, "must be a whole number from %d to %d (%s)", low, high, hint)
	case v.Cmp(big.NewInt(int64(low))) < 0 || v.Cmp(big.NewInt(int64(high))) > 0:
		d.complain(CodeOutOfRange, name, "is %s; it must be from %d to %d (%s)", shorten(v.String()), low, high, hint)
	default:
		*to = int(v.Int64())
		return true
	}
	return false
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

func (d *draft) size(to *int, name string, value json.RawMessage) {
	v, ok := wholeNumber(value)
	switch {
	case !ok:
		d.complain(CodeWrongType, name, "must be a whole number of pixels, a multiple of %d from %d to %d", SizeStep, SizeStep, MaxSize)
	case v.Cmp(big.NewInt(SizeStep)) < 0 || v.Cmp(big.NewInt(MaxSize)) > 0:
		d.complain(CodeInvalidSize, name, "is %s; it must be a multiple of %d from %d to %d", shorten(v.String()), SizeStep, SizeStep, MaxSize)
	default:
		*to = int(v.Int64())
		if rest := *to % SizeStep; rest != 0 {
			d.complain(CodeInvalidSize, name, "is %d, which is not a multiple of %d; use %s (the limit is %d)",
				*to, SizeStep, neighbours(*to-rest), MaxSize)
		}
	}
}

// neighbours spells the multiples around a size.
func neighbours(below int) string {
	if above := below + SizeStep; above <= MaxSize {
		return strconv.Itoa(below) + " or " + strconv.Itoa(above)
	}
	return strconv.Itoa(below)
}

func (d *draft) number(to *float64, name string, value json.RawMessage, low, high float64, hint string) {
	var v float64
	switch {
	case json.Unmarshal(value, &v) != nil: // JSON has no NaN and no infinity
		d.complain(CodeWrongType, name, "must be a number from %g to %g (%s)", low, high, hint)
	case v < low || v > high:
		d.complain(CodeOutOfRange, name, "is %g; it must be from %g to %g (%s)", v, low, high, hint)
	default:
		*to = v
	}
}

func (d *draft) scale(to *float64, name string, value json.RawMessage) {
	d.number(to, name, value, 0, MaxScale, "leave it out for the model's own")
}

func (d *draft) seed(name string, value json.RawMessage) {
	v, ok := wholeNumber(value)
	switch {
	case !ok:
		d.complain(CodeWrongType, name, "must be a whole number from 0 to %s; leave it out for a random one", maxSeedText)
	case !v.IsUint64():
		d.complain(CodeOutOfRange, name, "is %s; it must be from 0 to %s; leave it out for a random one", shorten(v.String()), maxSeedText)
	default:
		d.Seed = v.Uint64()
	}
}

func (d *draft) output(name string, value json.RawMessage) {
	values, ok := d.object(name, value, outputFields)
	if !ok {
		return
	}
	if format := values["format"]; format != nil && !isNull(format) {
		d.oneOf(name+".format", format, "mp4")
	}
	if crf := values["crf"]; crf != nil && !isNull(crf) {
		d.integer(&d.Output.CRF, name+".crf", crf, MinCRF, MaxCRF, "smaller is better and larger; the default is 18")
	}
}

// images reads a list of sources; a single source is a list of one.
func (d *draft) images(name string, value json.RawMessage) []Source {
	values := []json.RawMessage{value}
	if value[0] == '[' {
		values = nil
		if json.Unmarshal(value, &values) != nil {
			d.complain(CodeWrongType, name, "must be a list of 1 to %d sources", MaxImages)
			return nil
		}
	}
	if len(values) > MaxImages {
		d.complain(CodeOutOfRange, name, "holds %d pictures; the limit is %d: leave some out", len(values), MaxImages)
		values = values[:MaxImages]
	}
	images := make([]Source, 0, len(values))
	for i, v := range values {
		field := name
		if value[0] == '[' {
			field += "[" + strconv.Itoa(i) + "]"
		}
		images = append(images, d.source(field, v, isPathAlias(name)))
	}
	return images
}
