package inference

import (
	"context"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/umt5"
)

// TextEncoder turns prompts into the embeddings that the transformer attends.
type TextEncoder struct {
	rt        *ort.Runtime
	net       *umt5.Encoder
	tokenizer *umt5.Tokenizer
	decompose bool
}

// TextEmbedding is an encoded prompt: Data is [Rows, Dim].
type TextEmbedding struct {
	Rows, Dim int
	Data      []float32
}

// OpenTextEncoder reads the names of the checkpoint and the tokenizer; weights stay in their file.
func OpenTextEncoder(rt *ort.Runtime, checkpointFile, tokenizerFile string) (*TextEncoder, []string, error) {
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
	return &TextEncoder{rt: rt, net: net, tokenizer: tokenizer}, unused, nil
}

// Encode cleans, tokenizes and encodes a prompt. A prompt of more than 512 tokens is refused: the reference would cut it
// without a word.
func (t *TextEncoder) Encode(ctx context.Context, field, prompt string) (*TextEmbedding, error) {
	ids, untruncated := t.tokenizer.Encode(umt5.Clean(prompt))
	if untruncated > len(ids) {
		return nil, fault.New("prompt_too_long", field, "the text has %d tokens, the limit is %d; shorten it", untruncated, len(ids))
	}
	return t.EncodeIDs(ctx, ids)
}

// EncodeIDs encodes token ids, the end token included.
func (t *TextEncoder) EncodeIDs(ctx context.Context, ids []int32) (e *TextEmbedding, err error) {
	wide := make([]int64, len(ids))
	for i, id := range ids {
		if wide[i] = int64(id); wide[i] >= t.net.Vocabulary() {
			return nil, fault.New("wrong_tokenizer", "", "the tokenizer gives id %d, but the text encoder has %d rows; fetch both from the same release", id, t.net.Vocabulary())
		}
	}
	n := int64(len(ids))
	chain, err := t.rt.NewChain(t.net.Network(n), ort.ChainOptions{Decompose: t.decompose})
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
	return &TextEmbedding{len(ids), int(t.net.Dim()), data}, err
}
