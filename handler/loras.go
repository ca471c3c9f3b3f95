package handler

import (
	"encoding/json"
	"regexp"
	"strconv"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/lora"
	"github.com/humo-worker/humo-worker/inference/sampler"
)

// lorasRule is a list of adapters: {"name": a file of the LoRA folder, "strength": a number}, and "sha256" where only
// that very file will do.
type lorasRule struct{}

func (lorasRule) read(d *draft, name string, value json.RawMessage) {
	var values []json.RawMessage
	if json.Unmarshal(value, &values) != nil {
		d.complain(CodeWrongType, name, `must be a list of up to %d LoRAs, each {"name": FILE, "strength": NUMBER}`, MaxLoRAs)
		return
	}
	if len(values) > MaxLoRAs {
		d.complain(CodeOutOfRange, name, "holds %d LoRAs; the limit is %d: leave some out", len(values), MaxLoRAs)
		values = values[:MaxLoRAs]
	}
	d.LoRAs = nil // not the endpoint's
	for i, v := range values {
		d.LoRAs = append(d.LoRAs, d.lora(name+"["+strconv.Itoa(i)+"]", v))
	}
}

func (d *draft) lora(name string, value json.RawMessage) inference.LoRA {
	one := inference.LoRA{Strength: 1}
	values, ok := d.object(name, value, []string{"name", "strength", "sha256"})
	if !ok {
		return one
	}
	if file := values["name"]; file == nil || isNull(file) {
		d.complain(CodeMissingField, name+".name", "is missing; name a file of the endpoint's LoRA folder")
	} else if one.Name, ok = d.text(name+".name", file, "a file name"); ok {
		if problem := lora.NameProblem(one.Name); problem != "" {
			d.complain(CodeInvalidSource, name+".name", "is %q, which %s", shorten(one.Name), problem)
		}
	}
	if v := values["strength"]; v != nil && !isNull(v) {
		const cure = "1 is as it was trained, 0 is none"
		switch {
		case json.Unmarshal(v, &one.Strength) != nil:
			d.complain(CodeWrongType, name+".strength", "must be a number from %d to %d (%s)", -MaxStrength, MaxStrength, cure)
		case one.Strength < -MaxStrength || one.Strength > MaxStrength:
			d.complain(CodeOutOfRange, name+".strength", "is %g; it must be from %d to %d (%s)", one.Strength, -MaxStrength, MaxStrength, cure)
		}
	}
	if v := values["sha256"]; v != nil && !isNull(v) {
		const what = "the file's SHA-256, 64 digits 0-9a-f, or left out"
		if one.SHA256, ok = d.text(name+".sha256", v, what); ok && !sha256Form.MatchString(one.SHA256) {
			d.complain(CodeWrongType, name+".sha256", "must be %s", what)
		}
	}
	return one
}

var sha256Form = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (lorasRule) schema(*Request) *schema {
	return &schema{Type: "array", MaxItems: MaxLoRAs, Items: &schema{Type: "object", Closed: closed, Required: []string{"name"}, Properties: properties{
		{"name", &schema{Type: "string", MaxLength: lora.MaxName, Pattern: lora.NamePattern, Description: "A .safetensors file of the endpoint's LoRA folder, without a path."}},
		{"strength", &schema{Type: "number", Minimum: whole(-MaxStrength), Maximum: whole(MaxStrength), Default: 1, Description: "1 is as it was trained, 0 is none."}},
		{"sha256", &schema{Type: "string", Pattern: sha256Form.String(), Description: "Of the file, as a manifest says it: another file of that name is refused."}},
	}}}
}

// completeQuality checks what quality "fast" asks for: the 17B, and few steps. The steps of the endpoint's configuration are
// meant for exact clips, unless they fit.
func (d *draft) completeQuality() {
	if d.Quality != inference.Fast {
		return
	}
	if d.Variant != inference.Variant17B {
		d.complain(CodeUnknownValue, "quality", `is "fast", which the %s cannot do: no step-distilled LoRA exists for it; use variant "%s", or quality "exact" or "balanced"`, d.Variant, inference.Variant17B)
	}
	fits := d.Steps >= sampler.MinFastSteps && d.Steps <= sampler.MaxFastSteps
	switch asked := d.given["steps"]; {
	case asked == "" && (!fits || !d.defaults.have("steps")):
		d.Steps = sampler.FastSteps
	case asked != "" && !fits && !d.complained(asked):
		d.complain(CodeOutOfRange, asked, `is %d; with quality "fast" it must be from %d to %d (the default is %d)`, d.Steps, sampler.MinFastSteps, sampler.MaxFastSteps, sampler.FastSteps)
	}
}
