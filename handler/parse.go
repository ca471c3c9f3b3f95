package handler

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// draft is a request while it is read.
type draft struct {
	Request
	localPaths bool
	defaults   *Defaults         // nil: the contract's
	given      map[string]string // field → the name it was given under
	problems   Problems
}

// complain adds a problem.
func (d *draft) complain(code, field, format string, args ...any) {
	d.problems = append(d.problems, fault.New(code, field, format, args...))
}

// parse reads the job and returns the request with every problem that can be seen without opening a source.
func parse(job Job, config Config) (*Request, Problems) {
	d := &draft{Request: config.base(), localPaths: job.LocalPaths, defaults: config.defaults, given: map[string]string{}}
	d.asked = map[string]json.RawMessage{}
	d.readBucket(job.S3, config)
	if d.read(job.Input, fields, jobWords) {
		d.complete()
	}
	return &d.Request, d.problems
}

// jobWords are what a job may hold.
var jobWords = vocabulary{fields: names(fields), aliases: aliases(fields)}

func aliases(fields []*field) []string {
	var all []string
	for _, f := range fields {
		all = append(all, f.aliases...)
	}
	return all
}

// read reads an object of fields.
func (d *draft) read(data json.RawMessage, fields []*field, words vocabulary) bool {
	values := map[string]json.RawMessage{}
	if !d.flatten("", data, words, values) {
		return false
	}
	for _, f := range fields { // in the contract's order, so that problems come in it
		for _, name := range append([]string{f.name}, f.aliases...) {
			value, ok := values[name]
			if !ok || isNull(value) {
				continue
			}
			if first, twice := d.given[f.name]; twice {
				d.complain(CodeDuplicateField, name, "is another name of %q, which is given too; keep one of them", first)
				continue
			}
			d.given[f.name], d.asked[f.name] = name, value
			f.rule.read(d, name, value)
		}
	}
	return true
}

// object reads a JSON object whose field names are known ones. Unknown and repeated names are problems.
func (d *draft) object(field string, data json.RawMessage, known []string) (map[string]json.RawMessage, bool) {
	return d.members(field, data, known, known)
}

// members does so for an object whose messages list only some of the known names.
func (d *draft) members(field string, data json.RawMessage, known, listed []string) (map[string]json.RawMessage, bool) {
	in := json.NewDecoder(bytes.NewReader(data))
	switch start, err := in.Token(); {
	case err != nil:
		d.complain(CodeInvalidJSON, field, "The %s is not valid JSON; send an object with the fields %s.", noun(field), list(listed))
		return nil, false
	case start != json.Delim('{'):
		d.complain(CodeWrongType, field, "The %s must be a JSON object with the fields %s.", noun(field), list(listed))
		return nil, false
	}
	values := map[string]json.RawMessage{}
	for in.More() {
		name, err := in.Token()
		var value json.RawMessage
		if err == nil {
			err = in.Decode(&value)
		}
		if err != nil {
			d.complain(CodeInvalidJSON, field, "The %s is not valid JSON (at byte %d); send an object with the fields %s.", noun(field), in.InputOffset(), list(listed))
			return nil, false
		}
		d.member(field, name.(string), value, known, listed, values)
	}
	if _, err := in.Token(); err != nil {
		d.complain(CodeInvalidJSON, field, "The %s ends too early; send a whole JSON object.", noun(field))
		return nil, false
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		d.complain(CodeInvalidJSON, field, "The %s goes on after its closing brace; send one JSON object.", noun(field))
		return nil, false
	}
	return values, true
}

func (d *draft) member(object, name string, value json.RawMessage, known, listed []string, values map[string]json.RawMessage) {
	full := name
	if object != "" {
		full = object + "." + name
	}
	switch isKnown := slices.Contains(known, name); {
	case isKnown && values[name] != nil:
		d.complain(CodeDuplicateField, full, "is given twice; keep one of them")
	case isKnown:
		values[name] = value
	case full == "s3Config":
		d.complain(CodeUnknownField, full, "belongs beside the input, not in it: {\"input\": {…}, \"s3Config\": {…}}")
	case isUnused(full) || leadsToUnused(full):
		d.complain(CodeUnknownField, shorten(full), "is of the original's configuration and has no effect here; leave it out")
	case len(d.problems) >= maxProblems: // nobody will read it, and looking for the nearest name takes time
		d.complain(CodeUnknownField, shorten(full), "is not a known field")
	default:
		d.complain(CodeUnknownField, shorten(full), "is not a known field; %s", suggest(name, known, listed))
	}
}

func noun(field string) string {
	if field == "" {
		return "input"
	}
	return "value"
}

func isNull(value json.RawMessage) bool { return string(bytes.TrimSpace(value)) == "null" }

// suggest names the known field that is nearest to a mistyped one.
func suggest(name string, known, listed []string) string {
	name = strings.ToLower(shorten(name))
	best, distance := "", len(name)/2+1
	for _, k := range known {
		if n := editDistance(name, k); n < distance {
			best, distance = k, n
		}
		// A word more or less, as in "image_paths" or "positive_prompt", is nearer than its letters say.
		if best == "" && len(k) > 3 && len(name) > 3 && (strings.Contains(name, k) || strings.Contains(k, name)) {
			best = k
		}
	}
	if best == "" {
		return "the known ones are " + list(listed)
	}
	return "did you mean \"" + best + "\"?"
}

// editDistance counts the letters to insert, delete, replace or swap with a neighbour between a and b.
func editDistance(a, b string) int {
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := last[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(replace, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// shorten keeps a foreign name readable in a message.
func shorten(name string) string {
	const limit = 64
	name = strings.ToValidUTF8(strings.Map(printable, name), "?")
	if len(name) > limit {
		return strings.ToValidUTF8(name[:limit], "") + "…"
	}
	return name
}

func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return '?'
	}
	return r
}

func list(names []string) string { return strings.Join(names, ", ") }
