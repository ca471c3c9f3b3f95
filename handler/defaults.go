package handler

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/fault"
)

// Defaults are what a configuration file says about jobs that do not say. They replace the contract's defaults.
type Defaults struct {
	request Request
	given   map[string]string // field → its name in the file
}

// maxConfigFile is far more than any configuration needs.
const maxConfigFile = 1 << 20

// ReadDefaults reads a configuration file in YAML (JSON is YAML too): the original's generate.yaml, or the same keys in
// dotted form, or the contract's own names. Keys of the original that decide nothing here are passed over; what is not
// known is an error that names the nearest key. The error lists all that is wrong with the file.
func ReadDefaults(path string) (*Defaults, error) {
	data, err := readConfigFile(path)
	if err != nil {
		return nil, err
	}
	d := &draft{Request: defaults(""), given: map[string]string{}}
	d.asked = map[string]json.RawMessage{}
	var settable []*field
	for _, f := range fields {
		if f.setting {
			settable = append(settable, f)
		}
	}
	d.read(data, settable, vocabulary{fields: names(settable), aliases: aliases(settable), unused: unused})
	if d.given["variant"] == "" {
		d.readGenerator(data)
	}
	var problems []error
	for _, p := range d.problems {
		problems = append(problems, fault.New("invalid_setting", path, "%s", strings.TrimSuffix(sentence(p), ".")))
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return &Defaults{d.Request, d.given}, nil
}

// readGenerator tells the variant of one of the original's files by the generator that it names.
func (d *draft) readGenerator(data []byte) {
	var file struct {
		Object struct {
			Path string `json:"path"`
		} `json:"__object__"`
	}
	if json.Unmarshal(data, &file) != nil {
		return // read has complained
	}
	switch file.Object.Path {
	case "humo.generate":
		d.Variant = inference.Variant17B
	case "humo.generate_1_7B":
		d.Variant = inference.Variant1B
	default:
		return
	}
	d.given["variant"] = "__object__.path"
}

// readConfigFile gives the file as JSON.
func readConfigFile(path string) ([]byte, error) {
	unreadable := fault.New("invalid_setting", path, "the configuration file cannot be read; check HUMO_CONFIG or --config")
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable.Because(err)
	}
	defer f.Close() //nolint:errcheck // only read from
	text, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err != nil {
		return nil, unreadable.Because(err)
	}
	if len(text) > maxConfigFile {
		return nil, fault.New("invalid_setting", path, "the configuration file has more than %d bytes; it is no configuration", maxConfigFile)
	}
	data, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, fault.New("invalid_setting", path, "the configuration file is not valid YAML; correct it").Because(errors.New(yaml.FormatError(err, false, false)))
	}
	return data, nil
}

// have reports whether the file sets a field.
func (d *Defaults) have(field string) bool { return d != nil && d.given[field] != "" }

// haveScale reports whether the file sets a guidance scale for a variant. A file about one variant, as the original's
// are, says nothing about the other.
func (d *Defaults) haveScale(field string, v inference.Variant) bool {
	return d.have(field) && (!d.have("variant") || d.request.Variant == v)
}
