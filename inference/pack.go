package inference

import (
	"context"
	"slices"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/wan"
	"github.com/humo-worker/humo-worker/inference/weights"
	"github.com/humo-worker/humo-worker/inference/weights/pack"
)

// Pack writes the packed copy of a variant's transformer, in bf16 or fp16: of the tensors that the network uses. It needs
// no ONNX Runtime.
func Pack(ctx context.Context, l weights.Layout, v Variant, format string, progress func(done, total int64)) (*pack.Result, error) {
	dtype, err := weights.PackedDType(format)
	if err != nil {
		return nil, err
	}
	file, err := l.Transformer(string(v))
	if err != nil {
		return nil, err
	}
	ix, err := checkpoint.Open(file)
	if err != nil {
		return nil, err
	}
	_, unused, err := wan.LoadDiT(ix)
	if err != nil {
		return nil, err
	}
	names := slices.DeleteFunc(ix.Names(), func(name string) bool { return slices.Contains(unused, name) })
	return pack.Write(ctx, pack.Order{Source: ix, Names: names, To: weights.Packed(file, format), DType: dtype, Fingerprint: Fingerprint, Progress: progress})
}

// preferPacked lets a variant use the packed copy of its transformer if that is wanted and possible, and says so.
func (e *Engine) preferPacked(f *weights.Files) {
	if e.packed == "" {
		return
	}
	copied := weights.Packed(f.DiT, e.packed)
	dtype, err := weights.PackedDType(e.packed)
	var ix *checkpoint.Index
	if err == nil {
		ix, err = checkpoint.Open(f.DiT)
	}
	if err == nil {
		err = pack.Check(copied, ix.Files, dtype, Fingerprint)
	}
	if err != nil {
		e.log.Warn().Str("file", copied).AnErr("reason", err).Msg("the packed transformer cannot be used, so the published file is; humo-worker weights pack --dtype " + e.packed + " makes it")
		return
	}
	e.log.Info().Str("file", copied).Msg("the packed transformer is used: clips are not the published file's to the last bit")
	f.DiT = copied
}
