package umt5

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// Codes of the faults of OpenTokenizer.
const (
	CodeTokenizerUnreadable  = "tokenizer_unreadable"  // no such file, or no JSON of the form of a tokenizer.json
	CodeTokenizerUnsupported = "tokenizer_unsupported" // a tokenizer with other rules than the ones built in here
)

// OpenTokenizer reads the tokenizer.json of google/umt5-xxl. A file that asks for other rules than those of Encode is
// refused, and the fault names the block of the file that does.
func OpenTokenizer(path string) (*Tokenizer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(err)
	}
	defer f.Close() //nolint:errcheck // only read from
	return readTokenizer(bufio.NewReaderSize(f, 1<<16))
}

func readTokenizer(r io.Reader) (*Tokenizer, error) {
	file, err := parseTokenizerFile(json.NewDecoder(r))
	if err != nil {
		return nil, unreadable(err)
	}
	return file.tokenizer()
}

func unreadable(err error) error {
	return fault.New(CodeTokenizerUnreadable, "tokenizer.json",
		"The tokenizer cannot be read. Pull the weights again; google/umt5-xxl/tokenizer.json is one of their files.").Because(err)
}

// tokenizerFile is what matters of a tokenizer.json. The small blocks are kept as they are, for the checks.
type tokenizerFile struct {
	normalizer    json.RawMessage
	preTokenizer  json.RawMessage
	postProcessor json.RawMessage
	addedTokens   json.RawMessage
	model         modelBlock
}

// parseTokenizerFile streams the file, since the vocabulary makes up most of its 17 MB.
func parseTokenizerFile(dec *json.Decoder) (*tokenizerFile, error) {
	file := new(tokenizerFile)
	seen := map[string]bool{}
	err := parseObject(dec, func(key string) error {
		if seen[key] {
			return fmt.Errorf("two blocks %q", key)
		}
		seen[key] = true
		switch key {
		case "normalizer":
			return dec.Decode(&file.normalizer)
		case "pre_tokenizer":
			return dec.Decode(&file.preTokenizer)
		case "model":
			return file.model.parse(dec)
		case "post_processor":
			return dec.Decode(&file.postProcessor)
		case "added_tokens":
			return dec.Decode(&file.addedTokens)
		default: // version, and what only other uses need: truncation, padding, decoder
			return dec.Decode(new(json.RawMessage))
		}
	})
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON object")
	}
	return file, nil
}

// parseObject reads an object and calls value at every value.
func parseObject(dec *json.Decoder, value func(key string) error) error {
	if err := expect(dec, json.Delim('{')); err != nil {
		return err
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		if err := value(key.(string)); err != nil { // the decoder lets nothing but strings through here
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return expect(dec, json.Delim('}'))
}

func expect(dec *json.Decoder, want json.Token) error {
	got, err := dec.Token()
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%v where %v should be", got, want)
	}
	return nil
}
