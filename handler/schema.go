package handler

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
)

// schema is the part of JSON Schema (draft 2020-12) that the contract needs, in the order that reads best.
type schema struct {
	Dialect     string      `json:"$schema,omitempty"`
	Ref         string      `json:"$ref,omitempty"`
	Title       string      `json:"title,omitempty"`
	Description string      `json:"description,omitempty"`
	Deprecated  bool        `json:"deprecated,omitempty"`
	WriteOnly   bool        `json:"writeOnly,omitempty"`
	Type        string      `json:"type,omitempty"`
	Const       any         `json:"const,omitempty"`
	Enum        []any       `json:"enum,omitempty"`
	Format      string      `json:"format,omitempty"`
	Pattern     string      `json:"pattern,omitempty"`
	MinLength   int         `json:"minLength,omitempty"`
	MaxLength   int         `json:"maxLength,omitempty"`
	Minimum     json.Number `json:"minimum,omitempty"`
	Maximum     json.Number `json:"maximum,omitempty"`
	MultipleOf  int         `json:"multipleOf,omitempty"`
	Default     any         `json:"default,omitempty"`
	Items       *schema     `json:"items,omitempty"`
	MinItems    int         `json:"minItems,omitempty"`
	MaxItems    int         `json:"maxItems,omitempty"`
	Properties  properties  `json:"properties,omitempty"`
	Required    []string    `json:"required,omitempty"`
	Closed      *bool       `json:"additionalProperties,omitempty"`
	AnyOf       []*schema   `json:"anyOf,omitempty"`
	OneOf       []*schema   `json:"oneOf,omitempty"`
	AllOf       []*schema   `json:"allOf,omitempty"`
	Not         *schema     `json:"not,omitempty"`
	Defs        properties  `json:"$defs,omitempty"`
}

// properties are named schemas in their order.
type properties []property

type property struct {
	name   string
	schema *schema
}

// MarshalJSON makes an object of them.
func (p properties) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	for i, one := range p {
		if i > 0 {
			out.WriteByte(',')
		}
		name, err := json.Marshal(one.name)
		if err != nil {
			return nil, err
		}
		value, err := marshal(one.schema)
		if err != nil {
			return nil, err
		}
		out.Write(name)
		out.WriteByte(':')
		out.Write(value)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// marshal leaves < and > as they are.
func marshal(v any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return bytes.TrimSpace(out.Bytes()), err
}

// Schema is the JSON Schema of a job's input, made of the rules that jobs are checked with. config's defaults are in
// it. Three rules are not: which steps work at which shift, what quality "fast" asks of variant and steps, and that null
// is the same as leaving a field out.
func Schema(config Config) ([]byte, error) {
	config, err := config.open()
	if err != nil {
		return nil, err
	}
	base := config.base()
	s := objectSchema(fields, &base)
	s.Dialect = "https://json-schema.org/draft/2020-12/schema"
	s.Title = "HuMo job input"
	s.Description = "A clip of a speaking person from a prompt, a voice track and pictures. Fields marked as deprecated are other names, of the original's configuration."
	for _, f := range fields {
		for _, alias := range f.aliases {
			s.addAlias(f, alias, alias)
		}
	}
	s.Required = []string{"prompt"}
	s.AllOf = append([]*schema{{Title: "audio is needed", AnyOf: presences("audio", nil)}}, modeRules()...)
	for _, f := range fields {
		if len(f.aliases) > 0 {
			s.AllOf = append(s.AllOf, onceRule(f))
		}
	}
	s.Defs = properties{{"source", sourceSchema()}, {"file", fileSchema()}}
	return json.MarshalIndent(s, "", "  ")
}

var closed = new(bool)

// objectSchema is an object with fields and nothing else.
func objectSchema(fields []*field, base *Request) *schema {
	s := &schema{Type: "object", Closed: closed}
	for _, f := range fields {
		one := f.rule.schema(base)
		one.Title, one.Description = f.title, f.doc
		s.Properties = append(s.Properties, property{f.name, one})
	}
	return s
}

// addAlias adds another name of a field: name itself, and for a dotted one also the objects that the dots lead into.
func (s *schema) addAlias(f *field, alias, name string) {
	s.add(name, func() *schema { return aliasSchema(f, alias) })
	for i, c := range name {
		if c == '.' {
			part := s.add(name[:i], func() *schema { return &schema{Type: "object", Closed: closed, Deprecated: true} })
			part.addAlias(f, alias, name[i+1:])
		}
	}
}

// add returns the property of that name, which it makes if it is not there.
func (s *schema) add(name string, create func() *schema) *schema {
	for _, p := range s.Properties {
		if p.name == name {
			return p.schema
		}
	}
	s.Properties = append(s.Properties, property{name, create()})
	return s.Properties[len(s.Properties)-1].schema
}

func aliasSchema(f *field, alias string) *schema {
	s := &schema{Description: "Another name of " + f.name + ".", Deprecated: true, Ref: "#/properties/" + f.name}
	switch {
	case isPathAlias(alias): // takes plain paths, too
		s.Ref = ""
		s.AnyOf = []*schema{reference("file"), {Type: "array", MaxItems: MaxImages, Items: reference("file")}}
		if f.name == "audio" {
			s.AnyOf = s.AnyOf[:1]
		}
	case f.name == "frames": // -1 is auto
		s.Ref = ""
		s.AnyOf = []*schema{{Ref: "#/properties/frames"}, {Const: -1}}
	}
	return s
}

// presence says that a value is given under a name, dotted in one of its forms, and what it is.
func presence(name string, value *schema) *schema {
	s := &schema{Required: []string{name}}
	if value != nil {
		s.Properties = properties{{name, value}}
	}
	return s
}

// presences are the ways in which a field can be given.
func presences(name string, value *schema) []*schema {
	all := []*schema{presence(name, value)}
	for _, f := range fields {
		if f.name != name {
			continue
		}
		for _, alias := range f.aliases {
			all = append(all, spellings(alias, value)...)
		}
	}
	return all
}

// spellings are the ways to write a dotted name.
func spellings(name string, value *schema) []*schema {
	all := []*schema{presence(name, value)}
	for i, c := range name {
		if c != '.' {
			continue
		}
		for _, rest := range spellings(name[i+1:], value) {
			all = append(all, presence(name[:i], rest))
		}
	}
	return all
}

// onceRule: a field is given under one of its names only, or under none.
func onceRule(f *field) *schema {
	ways := presences(f.name, nil)
	return &schema{Title: f.name + " is given once", OneOf: append(ways, &schema{Not: &schema{AnyOf: ways}})}
}

// modeRules: TIA needs pictures and TA uses none.
func modeRules() []*schema {
	pictures := presences("images", &schema{AnyOf: []*schema{{Type: "string"}, {Type: "object"}, {Type: "array", MinItems: 1}}})
	mode := func(m string) []*schema { return presences("mode", &schema{Const: m}) }
	return []*schema{
		{Title: "mode TIA needs pictures", AnyOf: append(pictures, &schema{Not: &schema{AnyOf: mode("TIA")}})},
		{Title: "mode TA uses no pictures", Not: &schema{AllOf: []*schema{{AnyOf: mode("TA")}, {AnyOf: pictures}}}},
	}
}

func reference(name string) *schema { return &schema{Ref: "#/$defs/" + name} }

// sourceSchema says what Source is in JSON.
func sourceSchema() *schema {
	return &schema{
		Title:       "Source",
		Description: "An https URL, a data: URI, base64 in an object, or volume:PATH inside the endpoint's input root.",
		AnyOf: []*schema{
			{Type: "string", Pattern: "^(" + anyCase("http") + "[sS]?://.|" + anyCase("data") + ":[^,]*,|" + anyCase("volume") + ":/*[^/])"},
			embeddedSchema(),
		},
	}
}

// fileSchema is a source under one of the original's names, where a plain path is one inside the input root.
func fileSchema() *schema {
	return &schema{Title: "File", Description: "A source, or a path inside the endpoint's input root.",
		AnyOf: []*schema{reference("source"), {Type: "string", MinLength: 1, Not: &schema{Pattern: "://"}}}}
}

func embeddedSchema() *schema {
	return &schema{Type: "object", Closed: closed, Required: []string{"data"}, Properties: properties{
		{"data", &schema{Type: "string", Description: "The file in base64."}},
		{"type", &schema{Type: "string", Description: `Its media type, such as "image/png"; it is not relied on.`}},
	}}
}

// anyCase is a pattern for a word in upper and lower case: JSON Schema knows no flags.
func anyCase(word string) string {
	var out strings.Builder
	for _, r := range word {
		out.WriteString("[" + string(r) + string(unicode.ToUpper(r)) + "]")
	}
	return out.String()
}

func whole(n int) json.Number    { return json.Number(strconv.Itoa(n)) }
func real(x float64) json.Number { return json.Number(strconv.FormatFloat(x, 'g', -1, 64)) }
