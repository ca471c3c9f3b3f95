package handler

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/fault"
)

// Defaults are what a configuration file says about jobs that do not say. They replace the contract's defaults.
type Defaults struct {
	request Request
	given   map[string]string // field → its name in the file
	cards   int               // dit.sp_size, over how many cards a clip is spread; 0: the file does not say
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
	cards := d.readCards(data)
	var problems []error
	for _, p := range d.problems {
		problems = append(problems, fault.New("invalid_setting", path, "%s", strings.TrimSuffix(sentence(p), ".")))
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return &Defaults{d.Request, d.given, cards}, nil
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

// readCards reads the number of cards. It is no field: a job cannot choose the worker's cards.
func (d *draft) readCards(data []byte) int {
	var file struct {
		DiT    json.RawMessage `json:"dit"`
		Dotted json.RawMessage `json:"dit.sp_size"`
	}
	if json.Unmarshal(data, &file) != nil {
		return 0 // read has complained
	}
	given := file.Dotted
	var dit map[string]json.RawMessage
	if json.Unmarshal(file.DiT, &dit) == nil && dit["sp_size"] != nil {
		given = dit["sp_size"]
	}
	if given == nil || isNull(given) {
		return 0
	}
	n, err := strconv.Atoi(string(given))
	if err != nil || n < 1 {
		d.complain(CodeOutOfRange, "dit.sp_size", "is %.20s; it must be a whole number of cards from 1", given)
		return 0
	}
	return n
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
	// A few aliases of aliases would grow to gigabytes when they are put in place.
	for _, t := range lexer.Tokenize(string(text)) {
		if t.Type == token.AliasType {
			return nil, fault.New("invalid_setting", path, "line %d of the configuration file has an alias (*name); write the value itself", t.Position.Line)
		}
	}
	data, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, fault.New("invalid_setting", path, "the configuration file is not valid YAML; correct it").Because(errors.New(yaml.FormatError(err, false, false)))
	}
	return data, nil
}

// have reports whether the file sets a field.
func (d *Defaults) have(field string) bool { return d != nil && d.given[field] != "" }

// scalesOf are the guidance scales of a variant: the file's, else the reference's. A file about one variant, as the
// original's are, says nothing about the other.
func (d *Defaults) scalesOf(v inference.Variant) Scales {
	scales := defaultScales[v]
	if d.have("variant") && d.request.Variant != v {
		return scales
	}
	if d.have("scale_t") {
		scales.Text = d.request.Scales.Text
	}
	if d.have("scale_a") {
		scales.Audio = d.request.Scales.Audio
	}
	if d.have("scale_i") {
		scales.Image = d.request.Scales.Image
	}
	return scales
}
