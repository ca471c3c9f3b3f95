package umt5

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
)

// modelBlock must be a Unigram vocabulary without byte fallback. Its pieces' ids are their places.
type modelBlock struct {
	kind         string
	unknown      *int64 // unk_id
	byteFallback bool
	pieces       []string
	scores       []float64
}

func (m *modelBlock) parse(dec *json.Decoder) error {
	return parseObject(dec, func(key string) error {
		switch key {
		case "type":
			return dec.Decode(&m.kind)
		case "unk_id":
			return dec.Decode(&m.unknown)
		case "byte_fallback":
			return dec.Decode(&m.byteFallback)
		case "vocab":
			return m.parseVocab(dec)
		default:
			return dec.Decode(new(json.RawMessage))
		}
	})
}

// parseVocab reads [["piece", score], …]. The vocabularies of other models are objects; they count as empty.
func (m *modelBlock) parseVocab(dec *json.Decoder) error {
	m.pieces, m.scores = nil, nil
	start, err := dec.Token()
	if err != nil {
		return err
	}
	if start == json.Delim('{') {
		return skipToEnd(dec)
	}
	if start != json.Delim('[') {
		return fmt.Errorf("%v where a list of pieces should start", start)
	}
	for dec.More() {
		if err := m.parsePiece(dec); err != nil {
			return fmt.Errorf("piece %d: %w", len(m.pieces), err)
		}
	}
	return expect(dec, json.Delim(']'))
}

func (m *modelBlock) parsePiece(dec *json.Decoder) error {
	if err := expect(dec, json.Delim('[')); err != nil {
		return err
	}
	piece, err := dec.Token()
	if err != nil {
		return err
	}
	score, err := dec.Token()
	if err != nil {
		return err
	}
	p, isString := piece.(string)
	s, isNumber := score.(float64)
	if !isString || !isNumber {
		return fmt.Errorf("[%v, %v] where a string and a number should be", piece, score)
	}
	m.pieces = append(m.pieces, p)
	m.scores = append(m.scores, s)
	return expect(dec, json.Delim(']'))
}

// skipToEnd reads on to the end of the object or list that dec is in.
func skipToEnd(dec *json.Decoder) error {
	for depth := 1; depth > 0; {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
	return nil
}

func (m *modelBlock) build() (unigram, error) {
	switch {
	case m.kind != "Unigram":
		return unigram{}, fmt.Errorf("type %q, want Unigram", m.kind)
	case m.byteFallback:
		return unigram{}, errors.New("byte_fallback true, want none")
	case len(m.pieces) == 0 || len(m.pieces) > math.MaxInt32:
		return unigram{}, fmt.Errorf("%d pieces in vocab", len(m.pieces))
	case m.unknown == nil || *m.unknown < 0 || *m.unknown >= int64(len(m.pieces)):
		return unigram{}, fmt.Errorf("no unk_id among the %d pieces", len(m.pieces))
	}
	ids := make([]int32, len(m.pieces))
	for i := range ids {
		ids[i] = int32(i)
	}
	return unigram{
		pieces:  newVocabulary(m.pieces, ids),
		scores:  m.scores,
		unknown: int32(*m.unknown),
		penalty: slices.Min(m.scores) - unknownPenalty,
	}, nil
}
