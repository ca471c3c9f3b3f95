package handler

import (
	"crypto/rand"
	"encoding/binary"
	"strings"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/sampler"
)

// complete fills in what depends on other fields and finds the problems between them.
func (d *draft) complete() {
	d.completeMode()
	if strings.TrimSpace(d.Prompt) == "" && !d.complained("prompt") {
		d.complain(CodeMissingField, "prompt", "is missing or blank; describe the clip in a sentence or two")
	}
	if d.given["audio"] == "" {
		d.complain(CodeMissingField, "audio", "is missing; both modes follow a voice track: send it as an https URL, as a data: URI, as base64 in {\"data\": …}, or as a volume: path")
	}
	d.completeScales()
	d.completeQuality()
	if !d.complained("steps") && !d.complained("shift") {
		// The schedule knows which step counts the reference cannot do at which shift.
		if _, err := sampler.NewSchedule(d.Steps, d.Shift); err != nil {
			problem := *ProblemsOf(err)[0]
			problem.Code = CodeOutOfRange
			d.problems = append(d.problems, &problem)
		}
	}
	if d.given["seed"] == "" && !d.defaults.have("seed") {
		d.Seed, d.drawnSeed = randomSeed(), true
	}
}

// completeMode settles the mode. Images and mode may not contradict each other: guessing would make another clip than
// the one that was asked for.
func (d *draft) completeMode() {
	images, origin := d.given["images"], ""
	if d.given["mode"] == "" {
		switch {
		case d.defaults.have("mode"):
			origin = " (the endpoint's configuration sets the mode)"
		case len(d.Images) > 0:
			d.Mode = inference.TIA
		default:
			d.Mode = inference.TA
		}
	}
	switch {
	case d.Mode == inference.TIA && len(d.Images) == 0 && !d.complained(images):
		d.complain(CodeImagesMissing, "images", "mode TIA needs 1 to %d reference pictures and there is none; add images, or use mode TA%s", MaxImages, origin)
	case d.Mode == inference.TA && len(d.Images) > 0:
		d.complain(CodeImagesUnexpected, images, "mode TA uses no reference pictures and %d are given; remove them, or use mode TIA%s", len(d.Images), origin)
	}
}

func (d *draft) completeScales() {
	standard := d.defaults.scalesOf(d.Variant)
	for name, scale := range map[string]struct{ to, from *float64 }{
		"scale_t": {&d.Scales.Text, &standard.Text},
		"scale_a": {&d.Scales.Audio, &standard.Audio},
		"scale_i": {&d.Scales.Image, &standard.Image},
	} {
		if d.given[name] == "" {
			*scale.to = *scale.from
		}
	}
}

// complained reports whether a field has a problem already.
func (d *draft) complained(field string) bool {
	for _, p := range d.problems {
		if p.Field == field {
			return true
		}
	}
	return false
}

// randomSeed draws a seed that survives a client whose numbers are all floats: 53 bits.
func randomSeed() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:]) >> 11
}
