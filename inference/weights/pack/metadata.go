package pack

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
)

// What a copy says about itself, in the __metadata__ of its header.
const (
	keyMade    = "humo_packed" // the format's version
	keyDType   = "humo_dtype"
	keySources = "humo_sources" // JSON, a list of source
)

// source is a file that a copy was made of.
type source struct {
	Name        string `json:"name"`
	Bytes       int64  `json:"bytes"`
	SHA256      string `json:"sha256"`
	Fingerprint string `json:"fingerprint"`
}

// identify reads the source files, for their digests.
func identify(files []string, fingerprint func(string) (string, error), step func(int) error) ([]source, error) {
	list := make([]source, len(files))
	for i, file := range files {
		mark, err := fingerprint(file)
		if err != nil {
			return nil, err
		}
		sum, n, err := digest(file, step)
		if err != nil {
			return nil, err
		}
		list[i] = source{filepath.Base(file), n, sum, mark}
	}
	return list, nil
}

func digest(file string, step func(int) error) (sum string, size int64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return "", 0, err
	}
	defer f.Close() //nolint:errcheck // only read from
	hash, buffer := sha256.New(), make([]byte, chunk)
	for {
		n, err := f.Read(buffer)
		hash.Write(buffer[:n])
		size += int64(n)
		if err == io.EOF {
			return hex.EncodeToString(hash.Sum(nil)), size, nil
		}
		if err != nil {
			return "", 0, err
		}
		if err := step(n); err != nil {
			return "", 0, err
		}
	}
}

// header is the safetensors header of the copy, padded so that the data is aligned.
func header(list []entry, dtype checkpoint.DType, sources []source) ([]byte, error) {
	origin, err := json.Marshal(sources)
	if err != nil {
		return nil, err
	}
	meta, err := json.Marshal(map[string]string{"format": "pt", keyMade: "1", keyDType: dtype.String(), keySources: string(origin)})
	if err != nil {
		return nil, err
	}
	var h bytes.Buffer
	fmt.Fprintf(&h, `{"__metadata__":%s`, meta)
	at := int64(0)
	for _, e := range list {
		name, err := json.Marshal(e.name)
		if err != nil {
			return nil, err
		}
		shape, err := json.Marshal(append([]int64{}, e.from.Shape...)) // [] for a scalar
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&h, `,%s:{"dtype":"%s","shape":%s,"data_offsets":[%d,%d]}`, name, e.dtype, shape, at, at+e.bytes())
		at += e.bytes()
	}
	h.WriteByte('}')
	const alignment = 64
	for (8+h.Len())%alignment != 0 {
		h.WriteByte(' ')
	}
	return h.Bytes(), nil
}

// readMetadata reads the __metadata__ of a safetensors file: foreign bytes, so with a limit.
func readMetadata(file string) (map[string]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read from
	var length uint64
	if err := binary.Read(f, binary.LittleEndian, &length); err != nil {
		return nil, err
	}
	const most = 16 << 20
	if length > most {
		return nil, fmt.Errorf("%s has no safetensors header", file)
	}
	var doc struct {
		Metadata map[string]string `json:"__metadata__"`
	}
	if err := json.NewDecoder(io.LimitReader(f, int64(length))).Decode(&doc); err != nil {
		return nil, err
	}
	return doc.Metadata, nil
}

// Check reports why a copy cannot stand for files: it is not there, not whole, of another type, or made of others. Files are
// compared by size and fingerprint; no tensor is read.
func Check(copy string, files []string, dtype checkpoint.DType, fingerprint func(string) (string, error)) error {
	if _, err := os.Stat(copy); err != nil {
		return errors.New("there is none")
	}
	meta, err := readMetadata(copy)
	if err != nil {
		return fmt.Errorf("it is not whole: %w", err)
	}
	if meta[keyMade] == "" {
		return errors.New("it was not made by this program")
	}
	if meta[keyMade] != "1" || meta[keyDType] != dtype.String() {
		return errors.New("it is of another kind")
	}
	if _, err := checkpoint.Open(copy); err != nil {
		return fmt.Errorf("it is not whole: %w", err)
	}
	var sources []source
	if err := json.Unmarshal([]byte(meta[keySources]), &sources); err != nil {
		return fmt.Errorf("it is not whole: %w", err)
	}
	if len(sources) != len(files) {
		return errors.New("it was made of other files")
	}
	for i, file := range files {
		mark, err := fingerprint(file)
		if err != nil {
			return err
		}
		if sources[i].Bytes != sizeOf(file) || sources[i].Fingerprint != mark {
			return fmt.Errorf("it was made of another %s", filepath.Base(file))
		}
	}
	return nil
}
