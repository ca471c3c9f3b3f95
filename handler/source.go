package handler

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
)

// Source says where the bytes of an input are. The zero value is none, as after a problem.
type Source struct {
	kind  sourceKind
	value string // volume, local: a path; base64: the text; raw: percent-encoded bytes; url: may hold a secret
}

type sourceKind int

const (
	noSource     sourceKind = iota
	volumeSource            // a path inside the input root
	localSource             // any path of this machine; the person at the keyboard only
	base64Source
	rawSource // a data: URI that is not base64
	urlSource // http or https
)

const sourceKinds = "send an https URL, a data: URI, base64 in {\"data\": …, \"type\": …}, or a volume: path"

// source reads a source. plainPath: a path without a prefix is one inside the input root, as in the original's
// configuration.
func (d *draft) source(name string, value json.RawMessage, plainPath bool) Source {
	switch value[0] {
	case '{':
		return d.base64Object(name, value)
	case '"':
		s, _ := d.text(name, value, "a source")
		return d.sourceText(name, s, plainPath)
	}
	d.complain(CodeWrongType, name, "must be a source; %s", sourceKinds)
	return Source{}
}

func (d *draft) base64Object(name string, value json.RawMessage) Source {
	values, ok := d.object(name, value, []string{"data", "type"})
	if !ok {
		return Source{}
	}
	if values["data"] == nil {
		d.complain(CodeMissingField, name+".data", "is missing; put the file's bytes there in base64")
		return Source{}
	}
	// The type is a courtesy to other readers: what the bytes are is told by the bytes.
	if kind := values["type"]; kind != nil && !isNull(kind) {
		d.text(name+".type", kind, `a media type such as "image/png"`)
	}
	data, ok := d.text(name+".data", values["data"], "text in base64")
	if !ok {
		return Source{}
	}
	return Source{base64Source, data}
}

func (d *draft) sourceText(name, s string, plainPath bool) Source {
	scheme, rest, hasScheme := strings.Cut(s, ":")
	switch scheme = strings.ToLower(scheme); {
	case hasScheme && (scheme == "https" || scheme == "http"):
		return Source{urlSource, s}
	case d.localPaths && s != "":
		return Source{localSource, s}
	case hasScheme && scheme == "volume":
		return Source{volumeSource, rest}
	case hasScheme && scheme == "data":
		kind, data, ok := strings.Cut(rest, ",")
		if !ok {
			d.complain(CodeInvalidSource, name, "is a data: URI without a comma; write data:TYPE;base64,BYTES")
			return Source{}
		}
		if strings.HasSuffix(strings.ToLower(strings.TrimSpace(kind)), ";base64") {
			return Source{base64Source, data}
		}
		return Source{rawSource, data}
	case plainPath && s != "" && !strings.Contains(s, "://"):
		return Source{volumeSource, s}
	default:
		d.complain(CodeInvalidSource, name, "is no source; %s", sourceKinds)
	}
	return Source{}
}

// decode gives the bytes of a source that carries them.
func (s Source) decode() ([]byte, error) {
	switch s.kind {
	case base64Source:
		return decodeBase64(s.value)
	case rawSource:
		text, err := url.PathUnescape(s.value)
		return []byte(text), err
	}
	return nil, errors.New("the source carries no bytes")
}

// decodeBase64 accepts both alphabets, with and without padding, and the %-escapes and line ends that data: URIs and
// e-mail put in.
func decodeBase64(text string) ([]byte, error) {
	if strings.Contains(text, "%") {
		unescaped, err := url.PathUnescape(text)
		if err != nil {
			return nil, err
		}
		text = unescaped
	}
	text = strings.TrimRight(strings.Map(dropBlank, text), "=")
	if strings.ContainsAny(text, "-_") {
		return base64.RawURLEncoding.DecodeString(text)
	}
	return base64.RawStdEncoding.DecodeString(text)
}

func dropBlank(r rune) rune {
	switch r {
	case ' ', '\t', '\r', '\n':
		return -1
	}
	return r
}
