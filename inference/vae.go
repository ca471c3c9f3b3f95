package inference

import (
	"context"
	"errors"
	"slices"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/wan"
)

// VAE runs Wan 2.1's VAE: frames to latents and back, chunk by chunk, so that no clip is ever in memory as a whole.
// Methods may be called from several goroutines, each of which then takes the memory of a run.
type VAE struct {
	site
	net *wan.VAE
}

// newVAE reads the names of the checkpoint; weights stay in their file. It fails with one fault that lists all missing
// tensors of both halves; unused lists those that neither half asks for.
func newVAE(s site, ix *checkpoint.Index) (v *VAE, unused []string, err error) {
	net, unused, err := wan.LoadVAE(ix)
	if err != nil {
		return nil, nil, err
	}
	return &VAE{site: s, net: net}, unused, nil
}

// Encode maps a clip [3, frames, height, width] with values in [-1, 1] to the normalised mean of its latents. Frames beyond
// 1+4k are dropped, as in the reference. Height and width are multiples of 8.
func (v *VAE) Encode(ctx context.Context, video []float32, frames, height, width int) (*Latent, error) {
	if frames < 1 || len(video) != 3*frames*height*width {
		return nil, fault.New("bad_size", "frames", "%d values are not a clip [3, %d, %d, %d]", len(video), frames, height, width)
	}
	pixels := height * width
	return v.encode(ctx, wan.LatentFrames(frames), height, width, func(frame int, dst []float32) {
		for c := range 3 {
			copy(dst[c*pixels:][:pixels], video[(c*frames+frame)*pixels:])
		}
	})
}

// EncodeZeros is Encode of a clip of zeros (mid-grey), which the 17B is shown where there is no picture. Once nothing of
// the clip's beginning is left in the encoder's memories, every latent frame equals the one before it to the last bit;
// those are copied.
func (v *VAE) EncodeZeros(ctx context.Context, frames, height, width int) (*Latent, error) {
	if frames < 1 {
		return nil, fault.New("bad_size", "frames", "a clip has at least one frame, not %d", frames)
	}
	total := wan.LatentFrames(frames)
	computed, err := v.encode(ctx, min(total, wan.EncoderTransient+1), height, width, func(int, []float32) {})
	if err != nil || computed.Frames == total {
		return computed, err
	}
	z := NewLatent(total, computed.Height, computed.Width)
	z.Paste(0, computed, 0, computed.Frames)
	for i := computed.Frames; i < total; i++ {
		z.Paste(i, computed, computed.Frames-1, computed.Frames)
	}
	return z, nil
}

// encode encodes a clip that has the given number of latent frames; read copies a video frame [3, height, width] to a zeroed slice.
func (v *VAE) encode(ctx context.Context, frames, height, width int, read func(frame int, dst []float32)) (z *Latent, err error) {
	if height < wan.SpatialStride || width < wan.SpatialStride || height%wan.SpatialStride != 0 || width%wan.SpatialStride != 0 {
		return nil, fault.New("bad_size", "width", "%dx%d is not a size in multiples of %d", width, height, wan.SpatialStride)
	}
	z = NewLatent(frames, height/wan.SpatialStride, width/wan.SpatialStride)
	run := v.start(frames, func(chunk wan.Chunk) *graph.Network {
		return v.net.EncoderNetwork(int64(z.Height), int64(z.Width), chunk)
	})
	defer closing(run, &err)
	next := 0
	for i := range frames {
		in := map[string]*ort.Tensor{}
		for name := range chunkFrames(i) {
			data := make([]float32, 3*height*width)
			read(next, data)
			next++
			if in[wan.FrameName(name)], err = ort.FromFloat32s([]int64{1, 3, int64(height), int64(width)}, data); err != nil {
				return nil, err
			}
		}
		out, err := run.chunk(ctx, in)
		if err != nil {
			return nil, err
		}
		mu, err := ort.Float32s(out, "latent")
		if err != nil {
			return nil, err
		}
		z.Paste(i, &Latent{1, z.Height, z.Width, mu}, 0, 1)
	}
	return z, nil
}

// Decode maps latents to 1+4·(frames-1) video frames and gives each to yield as soon as its chunk is decoded: RGB bytes [8h,
// 8w, 3], valid until yield returns. progress counts latent frames and may be nil. An error of yield ends the decoding and
// is returned.
func (v *VAE) Decode(ctx context.Context, z *Latent, yield func(rgb []byte) error, progress func(done, total int)) error {
	return v.decode(ctx, z, v.net.PictureNetwork, func(frame *ort.Tensor) error { return yield(frame.Bytes()) }, progress)
}

// DecodeFloats is Decode with frames [3, 8h, 8w] of values clamped to [-1, 1]. It serves the golden tests.
func (v *VAE) DecodeFloats(ctx context.Context, z *Latent, yield func(frame []float32) error, progress func(done, total int)) error {
	return v.decode(ctx, z, v.net.DecoderNetwork, func(frame *ort.Tensor) error { return yield(frame.Float32s()) }, progress)
}

func (v *VAE) decode(ctx context.Context, z *Latent, network func(height, width int64, chunk wan.Chunk) *graph.Network,
	yield func(*ort.Tensor) error, progress func(done, total int)) (err error) {
	if progress == nil {
		progress = func(int, int) {}
	}
	run := v.start(z.Frames, func(chunk wan.Chunk) *graph.Network { return network(int64(z.Height), int64(z.Width), chunk) })
	defer closing(run, &err)
	progress(0, z.Frames)
	for i := range z.Frames {
		latent, err := ort.FromFloat32s([]int64{1, wan.LatentChannels, int64(z.Height), int64(z.Width)}, z.Slice(i, i+1).Data)
		if err != nil {
			return err
		}
		out, err := run.chunk(ctx, map[string]*ort.Tensor{"latent": latent})
		if err != nil {
			return err
		}
		for name := range chunkFrames(i) {
			if err := yield(out[wan.FrameName(name)]); err != nil {
				return errors.Join(err, ort.CloseAll(out))
			}
		}
		if err := ort.CloseAll(out); err != nil {
			return err
		}
		progress(i+1, z.Frames)
	}
	return nil
}

// chunkFrames is the number of video frames of the i-th chunk, which is the i-th latent frame.
func chunkFrames(i int) int {
	if i == 0 {
		return 1
	}
	return wan.TemporalStride
}

// vaeRun is a clip on its way through one half of the VAE.
type vaeRun struct {
	v       *VAE
	network func(wan.Chunk) *graph.Network
	total   int // chunks
	done    int
	chain   *ort.Chain // of the chunk's kind; nil before the first
	state   map[string]*ort.Tensor
}

func (v *VAE) start(chunks int, network func(wan.Chunk) *graph.Network) *vaeRun {
	return &vaeRun{v: v, network: network, total: chunks, state: map[string]*ort.Tensor{}}
}

// chunk runs the next chunk.
func (r *vaeRun) chunk(ctx context.Context, in map[string]*ort.Tensor) (map[string]*ort.Tensor, error) {
	if r.done < 2 { // from the third chunk on, all are of one kind
		if err := r.prepare(); err != nil {
			return nil, err
		}
	}
	r.done++
	return r.chain.Run(ctx, in, r.state)
}

// prepare makes the chain of the first or of the later chunks.
func (r *vaeRun) prepare() error {
	if r.chain != nil {
		if err := r.chain.Close(); err != nil {
			return err
		}
	} else if err := r.v.rt.FreshArena(); err != nil { // the buffers of other networks do not fit
		return err
	}
	kind := wan.Next
	switch {
	case r.total == 1:
		kind = wan.Only
	case r.done == 0:
		kind = wan.First
	}
	n := r.network(kind)
	var err error
	if r.chain, err = r.v.chain(n, ort.ChainOptions{}); err != nil {
		return err
	}
	return r.zero(n)
}

// zero adds the memories that the first chunk has not filled: they lie before the clip.
func (r *vaeRun) zero(n *graph.Network) (err error) {
	for _, p := range n.Inputs {
		if r.done > 0 && r.state[p.Name] == nil && slices.Contains(n.State, p.Name) {
			if r.state[p.Name], err = ort.Zeros(p.DType, p.Shape); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close frees everything, the arena's buffers too.
func (r *vaeRun) Close() error {
	err := ort.CloseAll(r.state)
	if r.chain != nil {
		err = errors.Join(err, r.chain.Close(), r.v.rt.FreshArena())
	}
	return err
}
