package handler

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"math/big"
	"net/url"
	"os"
	"strconv"

	"github.com/humo-worker/humo-worker/inference"
)

// File is what a file held.
type File struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

func hashFile(path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return File{}, err
	}
	defer f.Close() //nolint:errcheck // only read from
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	return File{n, hex.EncodeToString(sum.Sum(nil))}, err
}

func hashText(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// gathered are the files of a job's sources.
type gathered struct {
	audio  File
	images []File
}

func hashSources(spec inference.Spec) (gathered, error) {
	var g gathered
	var err error
	if g.audio, err = hashFile(spec.AudioPath); err != nil {
		return g, err
	}
	for _, path := range spec.ImagePaths {
		f, err := hashFile(path)
		if err != nil {
			return g, err
		}
		g.images = append(g.images, f)
	}
	return g, nil
}

// requestHash tells whether two jobs say the same. It is known before a source is fetched.
func (r *Request) requestHash() string {
	return r.hash(hashText(string(r.asked["audio"])), hashText(string(r.asked["images"])))
}

// inputHash tells whether two jobs ask for the same clip: as requestHash, with what the sources hold in the place of
// where they are. A link that was signed anew is the same source.
func (r *Request) inputHash(g gathered) string {
	images := make([]string, len(g.images))
	for i, f := range g.images {
		images[i] = f.SHA256
	}
	return r.hash(g.audio.SHA256, images)
}

// hash is the SHA-256 of the fields that the caller gave, in canonical JSON: the contract's names, sorted; numbers in
// their shortest form; nothing that does not decide what is made and where it goes.
func (r *Request) hash(audio, images any) string {
	fields := map[string]any{}
	for name, raw := range r.asked {
		switch name {
		case "dry_run":
		case "audio":
			fields[name] = audio
		case "images":
			fields[name] = images
		default:
			fields[name] = canonical(raw)
		}
	}
	if output, ok := fields["output"].(map[string]any); ok {
		delete(output, "expires_in")
		if address, ok := output["upload_url"].(string); ok {
			output["upload_url"] = withoutQuery(address)
		}
		if len(output) == 0 {
			delete(fields, "output")
		}
	}
	text, err := json.Marshal(fields) // sorts names
	if err != nil {
		panic(err) // all of it came from JSON
	}
	return hashText(string(text))
}

// canonical decodes a value so that what means the same is the same.
func canonical(raw json.RawMessage) any {
	in := json.NewDecoder(bytes.NewReader(raw))
	in.UseNumber()
	var value any
	if in.Decode(&value) != nil {
		return string(raw)
	}
	return canonicalValue(value)
}

func canonicalValue(value any) any {
	switch v := value.(type) {
	case json.Number:
		return canonicalNumber(v)
	case map[string]any:
		for name, member := range v {
			if v[name] = canonicalValue(member); member == nil {
				delete(v, name) // null is left out
			}
		}
	case []any:
		for i := range v {
			v[i] = canonicalValue(v[i])
		}
	}
	return value
}

// canonicalNumber: 97, 97.0 and 9.7e1 are one number.
func canonicalNumber(n json.Number) json.Number {
	if _, ok := new(big.Int).SetString(n.String(), 10); ok {
		return n
	}
	f, err := n.Float64()
	if err != nil {
		return n
	}
	if whole := strconv.FormatFloat(f, 'f', -1, 64); len(whole) <= 20 {
		return json.Number(whole)
	}
	return json.Number(strconv.FormatFloat(f, 'g', -1, 64))
}

// withoutQuery is a URL without what may be a signature.
func withoutQuery(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = "", false, "", ""
	return u.String()
}
