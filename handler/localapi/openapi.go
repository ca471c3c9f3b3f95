package localapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/humo-worker/humo-worker/handler/runpod"
)

// schemas makes OpenAPI's schemas of Go types. A struct becomes a component, once.
type schemas struct {
	known map[reflect.Type]*jsonschema.Schema // how a type is referred to
	all   map[string]*jsonschema.Schema       // the components
}

const components = "#/components/schemas/"

// wireTypes are the components, inner ones first.
var wireTypes = []reflect.Type{
	reflect.TypeFor[runpod.Policy](), reflect.TypeFor[S3Config](), reflect.TypeFor[Request](), reflect.TypeFor[Ticket](), reflect.TypeFor[Progress](), reflect.TypeFor[Status](),
	reflect.TypeFor[Chunk](), reflect.TypeFor[Stream](), reflect.TypeFor[Purge](), reflect.TypeFor[HealthJobs](), reflect.TypeFor[HealthWorkers](), reflect.TypeFor[Health](),
	reflect.TypeFor[Entry](), reflect.TypeFor[History](), reflect.TypeFor[Upload](), reflect.TypeFor[Limits](), reflect.TypeFor[Info](), reflect.TypeFor[Nothing](), reflect.TypeFor[Problem](),
}

func newSchemas() (*schemas, error) {
	s := &schemas{all: map[string]*jsonschema.Schema{}, known: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[json.RawMessage](): {},
		reflect.TypeFor[State]():           {Type: "string", Enum: states},
		reflect.TypeFor[time.Time]():       {Type: "string", Format: "date-time"},
	}}
	for _, t := range wireTypes {
		if err := s.add(t.Name(), t); err != nil {
			return nil, err
		}
	}
	// Whatever else a job says beside its input is ignored, as RunPod ignores it.
	for _, name := range []string{"Request", "Policy", "S3Config"} {
		s.all[name].AdditionalProperties = nil
	}
	s.all["Policy"].Required = nil
	return s, nil
}

// add makes a component of a type.
func (s *schemas) add(name string, t reflect.Type) error {
	known := maps.Clone(s.known)
	if t.Kind() == reflect.Struct {
		for f := range t.Fields() {
			if f.Anonymous {
				delete(known, f.Type) // its fields are the type's own
			}
		}
	}
	one, err := jsonschema.ForType(t, &jsonschema.ForOptions{TypeSchemas: known})
	if err != nil {
		return err
	}
	neverNull(one)
	s.all[name] = one
	s.known[t] = &jsonschema.Schema{Ref: components + name}
	return nil
}

// neverNull takes null out of what Go's zero values would allow: empty fields are left out, and lists are made.
func neverNull(s *jsonschema.Schema) {
	if len(s.Types) > 0 && s.Types[0] == "null" {
		if len(s.Types) == 2 {
			s.Type = s.Types[1]
		}
		s.Types = nil // a reference needs none
	}
	for _, p := range s.Properties {
		neverNull(p)
	}
	if s.Items != nil {
		neverNull(s.Items)
	}
	if s.AdditionalProperties != nil {
		neverNull(s.AdditionalProperties)
	}
}

// object is JSON's.
type object = map[string]any

// openAPI describes the server as OpenAPI 3.1, from the table of routes and the Go types of their bodies.
func (s *Server) openAPI() (json.RawMessage, error) {
	types, err := newSchemas()
	if err != nil {
		return nil, err
	}
	for name, use := range map[string]struct {
		t  reflect.Type
		in []string
	}{
		"JobOutput": {s.Contract.Output, []string{"Status", "Entry"}}, "JobFailure": {s.Contract.Failure, []string{"Status", "Entry"}}, "JobChunk": {s.Contract.Chunk, []string{"Chunk"}},
	} {
		if use.t == nil {
			continue
		}
		if err := types.add(name, use.t); err != nil {
			return nil, err
		}
		for _, in := range use.in {
			output := types.all[in].Properties["output"]
			if output.AnyOf == nil { // beside what is known by name, an output may be progress, or the result of a streaming job
				output.AnyOf = []*jsonschema.Schema{{}}
			}
			output.AnyOf = append(output.AnyOf, types.known[use.t])
		}
	}
	all := object{}
	for name, one := range types.all {
		all[name] = one
	}
	if s.Contract.Input != nil {
		input, err := inside(s.Contract.Input, "JobInput")
		if err != nil {
			return nil, err
		}
		all["JobInput"] = input
		types.all["Request"].Properties["input"] = &jsonschema.Schema{Ref: components + "JobInput"}
	}
	paths := object{}
	for _, r := range table() {
		item, ok := paths[r.path].(object)
		if !ok {
			item = object{}
			paths[r.path] = item
		}
		maps.Copy(item, r.describe(types))
	}
	document := object{
		"openapi": "3.1.0",
		"info": object{"title": "humo-worker", "version": s.Version, "description": "RunPod's endpoint API, served by the worker itself. " +
			"Every success is 200; every other answer is a Problem. RunPod's own addresses are there a second time, below /v2/{endpoint} and /{endpoint}, for any endpoint id."},
		"servers": []object{{"url": "/"}},
		"paths":   paths,
		"components": object{
			"schemas":         all,
			"securitySchemes": object{"key": object{"type": "http", "scheme": "bearer", "description": "LOCAL_API_KEY, if the server has one"}},
		},
		"security": []object{{}, {"key": []string{}}},
	}
	return json.MarshalIndent(document, "", "  ")
}

// describe is a path item.
func (r *route) describe(types *schemas) object {
	item := object{}
	if r.runpod {
		endpoint := object{"endpoint": object{"default": "local", "description": "any endpoint id"}}
		item["servers"] = []object{{"url": "/"}, {"url": "/v2/{endpoint}", "variables": endpoint}, {"url": "/{endpoint}", "variables": endpoint}}
	}
	parameters := []object{}
	if strings.Contains(r.path, "{id}") {
		parameters = append(parameters, object{"name": "id", "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	for _, p := range r.query {
		parameters = append(parameters, object{
			"name": p.name, "in": "query", "description": fmt.Sprintf("%s; values outside of %d to %d are brought inside", p.doc, p.low, p.high),
			"schema": object{"type": "integer", "default": p.missing},
		})
	}
	for _, method := range r.methods {
		operation := object{
			"operationId": strings.ToLower(method) + strings.NewReplacer("/", "_", "{", "", "}", "", "-", "_", ".", "_").Replace(r.path),
			"summary":     r.summary, "responses": r.responses(types),
		}
		if len(parameters) > 0 {
			operation["parameters"] = parameters
		}
		switch {
		case r.in != nil:
			operation["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": types.known[r.in]}}}
		case r.takes != "":
			operation["requestBody"] = object{"required": true, "content": object{r.takes: object{"schema": object{"type": "string", "format": "binary"}}}}
		}
		item[strings.ToLower(method)] = operation
	}
	return item
}

func (r *route) responses(types *schemas) object {
	success := object{"description": "Done"}
	switch schema := types.known[r.out]; {
	case r.gives != "":
		success["content"] = object{r.gives: object{"schema": object{"type": "string"}}}
	case schema != nil:
		success["content"] = object{"application/json": object{"schema": schema}}
	default: // any object
		success["content"] = object{"application/json": object{"schema": object{"type": "object"}}}
	}
	all := object{"200": success}
	for _, status := range append(r.refuses, http.StatusUnauthorized, http.StatusForbidden) {
		all[strconv.Itoa(status)] = object{
			"description": http.StatusText(status),
			"content":     object{"application/json": object{"schema": types.known[reflect.TypeFor[Problem]()]}},
		}
	}
	return all
}

// withUploads adds the names of uploads to what an input's schema calls a source, and changes nothing else of it.
func withUploads(schema json.RawMessage) (json.RawMessage, error) {
	var root struct {
		Defs struct {
			Source json.RawMessage `json:"source"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(schema, &root); err != nil || root.Defs.Source == nil {
		return schema, err
	}
	source := object{}
	if err := json.Unmarshal(root.Defs.Source, &source); err != nil {
		return nil, err
	}
	forms, _ := source["anyOf"].([]any)
	source["anyOf"] = append(forms, object{"type": "string", "pattern": "^" + uploadScheme + "[A-Z2-7]{26}$", "description": "The name that /uploads gave a file."})
	more, err := runpod.Encode(source)
	if err != nil {
		return nil, err
	}
	return bytes.Replace(schema, root.Defs.Source, more, 1), nil
}

// inside makes a component of a JSON Schema that refers to its own root.
func inside(schema json.RawMessage, name string) (object, error) {
	var root object
	if err := json.Unmarshal(schema, &root); err != nil {
		return nil, fmt.Errorf("the schema of inputs: %w", err)
	}
	delete(root, "$schema")
	var move func(v any)
	move = func(v any) {
		switch v := v.(type) {
		case object:
			if ref, ok := v["$ref"].(string); ok && strings.HasPrefix(ref, "#/") {
				v["$ref"] = components + name + ref[1:]
			}
			for _, inner := range v {
				move(inner)
			}
		case []any:
			for _, inner := range v {
				move(inner)
			}
		}
	}
	move(root)
	return root, nil
}
