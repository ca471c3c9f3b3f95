package inference

import (
	"context"
	"crypto/sha256"
	"strings"
	"sync"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/textcache"
	"github.com/humo-worker/humo-worker/inference/umt5"
)

// TextEncoder turns prompts into the embeddings that the transformer attends. Its network, more than half of all bytes of
// weights, is opened when the first text comes that the cache does not know.
type TextEncoder struct {
	open     func() (*textNetwork, error)
	cache    *textcache.Cache
	identity func() (string, error) // of all that turns a text into numbers

	mu      sync.Mutex
	network *textNetwork // nil until it is needed
}

// textNetwork is the tokenizer and the encoder.
type textNetwork struct {
	site
	net       *umt5.Encoder
	tokenizer *umt5.Tokenizer
}

// TextEmbedding is an encoded prompt: Data is [Rows, Dim].
type TextEmbedding = textcache.Embedding

// openTextNetwork reads the names of the checkpoint and the tokenizer; weights stay in their file.
func openTextNetwork(s site, checkpointFile, tokenizerFile string) (*textNetwork, []string, error) {
	tokenizer, err := umt5.OpenTokenizer(tokenizerFile)
	if err != nil {
		return nil, nil, err
	}
	ix, err := checkpoint.Open(checkpointFile)
	if err != nil {
		return nil, nil, err
	}
	net, unused, err := umt5.LoadEncoder(ix)
	if err != nil {
		return nil, nil, err
	}
	return &textNetwork{site: s, net: net, tokenizer: tokenizer}, unused, nil
}

// Open opens the network, if it is not open yet: names and sizes are checked.
func (t *TextEncoder) Open() error {
	_, err := t.opened()
	return err
}

func (t *TextEncoder) opened() (*textNetwork, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.network == nil {
		network, err := t.open()
		if err != nil {
			return nil, err
		}
		t.network = network
	}
	return t.network, nil
}

// Encode cleans, tokenizes and encodes a prompt, or remembers what it gave before. A prompt of more than 512 tokens is
// refused: the reference would cut it without a word. The result is shared and must not be changed.
func (t *TextEncoder) Encode(ctx context.Context, field, prompt string) (*TextEmbedding, error) {
	text := umt5.Clean(prompt)
	key, known := t.key(text)
	if known {
		if e := t.cache.Get(key); e != nil {
			return e, nil
		}
	}
	n, err := t.opened()
	if err != nil {
		return nil, err
	}
	ids, untruncated := n.tokenizer.Encode(text)
	if untruncated > len(ids) {
		return nil, fault.New("prompt_too_long", field, "the text has %d tokens, the limit is %d; shorten it", untruncated, len(ids))
	}
	e, err := n.encodeIDs(ctx, ids)
	if err == nil && known {
		t.cache.Put(key, e)
	}
	return e, err
}

// key is a text's in the cache; not known if the files that would encode it cannot be read.
func (t *TextEncoder) key(text string) (key textcache.Key, known bool) {
	identity, err := t.identity()
	if err != nil || strings.ContainsRune(identity, 0) {
		return key, false
	}
	return sha256.Sum256([]byte("humo-worker text embedding 1\x00" + identity + "\x00" + text)), true
}

// EncodeIDs encodes token ids, the end token included. It never asks the cache.
func (t *TextEncoder) EncodeIDs(ctx context.Context, ids []int32) (*TextEmbedding, error) {
	n, err := t.opened()
	if err != nil {
		return nil, err
	}
	return n.encodeIDs(ctx, ids)
}

func (t *textNetwork) encodeIDs(ctx context.Context, ids []int32) (e *TextEmbedding, err error) {
	wide := make([]int64, len(ids))
	for i, id := range ids {
		if wide[i] = int64(id); wide[i] >= t.net.Vocabulary() {
			return nil, fault.New("wrong_tokenizer", "", "the tokenizer gives id %d, but the text encoder has %d rows; fetch both from the same release", id, t.net.Vocabulary())
		}
	}
	n := int64(len(ids))
	chain, err := t.chain(t.net.Network(n), ort.ChainOptions{})
	if err != nil {
		return nil, err
	}
	defer closing(chain, &err)
	idTensor, err := ort.FromInt64s([]int64{n}, wide)
	if err != nil {
		return nil, err
	}
	buckets, err := ort.FromInt64s([]int64{n, n}, umt5.RelativeBuckets(len(ids)))
	if err != nil {
		return nil, err
	}
	results, err := chain.Run(ctx, map[string]*ort.Tensor{"ids": idTensor, "buckets": buckets}, nil)
	if err != nil {
		return nil, err
	}
	data, err := ort.Float32s(results, "embedding")
	return &TextEmbedding{Rows: len(ids), Dim: int(t.net.Dim()), Data: data}, err
}
