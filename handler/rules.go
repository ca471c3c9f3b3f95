package handler

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// rule is what the value of a field must be. read and schema say the same, in Go and as JSON Schema.
type rule interface {
	// read puts the value into the request, or complains about name.
	read(d *draft, name string, value json.RawMessage)
	// schema describes the values that read takes. base holds the defaults.
	schema(base *Request) *schema
}

// choiceRule is one of a few words.
type choiceRule struct {
	set    func(r *Request, value string)
	values []string
	usual  string // the default; empty: it depends
}

func (c choiceRule) read(d *draft, name string, value json.RawMessage) {
	if v := d.oneOf(name, value, c.values...); v != "" {
		c.set(&d.Request, v)
	}
}

func (c choiceRule) schema(*Request) *schema {
	s := &schema{Type: "string"}
	for _, v := range c.values {
		s.Enum = append(s.Enum, v)
	}
	if c.usual != "" {
		s.Default = c.usual
	}
	return s
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

func (d *draft) text(name string, value json.RawMessage, what string) (string, bool) {
	var s string
	if json.Unmarshal(value, &s) != nil {
		d.complain(CodeWrongType, name, "must be %s", what)
		return "", false
	}
	return s, true
}

// promptRule is a text that the model reads.
type promptRule struct {
	to     func(*Request) *string
	needed bool // it may not be blank
}

func (p promptRule) read(d *draft, name string, value json.RawMessage) {
	s, _ := d.text(name, value, "text")
	if n := utf8.RuneCountInString(s); n > MaxPrompt {
		d.complain(CodeOutOfRange, name, "has %d characters; the limit is %d: shorten it (the model reads 512 tokens at most)", n, MaxPrompt)
	}
	*p.to(&d.Request) = s
}

func (p promptRule) schema(*Request) *schema {
	s := &schema{Type: "string", MaxLength: MaxPrompt}
	if p.needed {
		s.Pattern = `\S`
	}
	return s
}

// flagRule is true or false.
type flagRule struct{ to func(*Request) *bool }

func (f flagRule) read(d *draft, name string, value json.RawMessage) {
	if json.Unmarshal(value, f.to(&d.Request)) != nil {
		d.complain(CodeWrongType, name, "must be true or false")
	}
}

func (f flagRule) schema(base *Request) *schema {
	return &schema{Type: "boolean", Default: *f.to(base)}
}

// addressRule is an absolute http or https URL. It may carry a signature, so no message repeats it.
type addressRule struct{ to func(*Request) *string }

func (a addressRule) read(d *draft, name string, value json.RawMessage) {
	const cure = "send a presigned URL that begins with https:// (or http://), has a host and no user name"
	s, ok := d.text(name, value, "a URL; "+cure)
	if !ok {
		return
	}
	u, err := url.Parse(s)
	switch {
	case len(s) > MaxURL:
		d.complain(CodeOutOfRange, name, "has %d characters; the limit is %d: send a shorter URL", len(s), MaxURL)
	case err != nil || u.Host == "" || u.User != nil || !strings.EqualFold(u.Scheme, "https") && !strings.EqualFold(u.Scheme, "http"):
		d.complain(CodeInvalidURL, name, "is no URL to upload to; %s", cure)
	default:
		*a.to(&d.Request) = s
	}
}

func (addressRule) schema(*Request) *schema {
	return &schema{Type: "string", Format: "uri", Pattern: "^" + anyCase("http") + "[sS]?://[^/?#@]+([/?#]|$)", MaxLength: MaxURL, WriteOnly: true}
}

// objectRule is an object with fields of its own.
type objectRule struct{ fields []*field }

func (o objectRule) read(d *draft, name string, value json.RawMessage) {
	values, ok := d.object(name, value, names(o.fields))
	if !ok {
		return
	}
	for _, f := range o.fields {
		if v := values[f.name]; v != nil && !isNull(v) {
			f.rule.read(d, name+"."+f.name, v)
		}
	}
}

func (o objectRule) schema(base *Request) *schema { return objectSchema(o.fields, base) }

func names(fields []*field) []string {
	all := make([]string, len(fields))
	for i, f := range fields {
		all[i] = f.name
	}
	return all
}

// audioSourceRule and imageSourcesRule are what is fetched (source.go).
type (
	audioSourceRule  struct{}
	imageSourcesRule struct{}
)

func (audioSourceRule) read(d *draft, name string, value json.RawMessage) {
	d.Audio = d.source(name, value, isPathAlias(name))
}

func (audioSourceRule) schema(*Request) *schema { return reference("source") }

func (imageSourcesRule) read(d *draft, name string, value json.RawMessage) {
	d.Images = d.images(name, value)
}

func (imageSourcesRule) schema(*Request) *schema {
	return &schema{AnyOf: []*schema{{Type: "array", Items: reference("source"), MaxItems: MaxImages}, reference("source")}}
}

// isPathAlias tells the names under which the original's configuration holds plain paths.
func isPathAlias(name string) bool {
	return strings.HasSuffix(name, "_path") || strings.HasSuffix(name, "_paths")
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
