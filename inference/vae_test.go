package inference

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/golden/goldentest"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/plan"
)

const (
	vaeWeights = goldenWeights + "/Wan2.1-T2V-1.3B/Wan2.1_VAE.pth"
)

// distance is the largest difference; NaN counts as infinite.
func distance(t *testing.T, a, b []float32) (worst float64) {
	t.Helper()
	if len(a) != len(b) || len(a) == 0 {
		t.Fatalf("%d values, want %d", len(a), len(b))
	}
	for i := range a {
		d := math.Abs(float64(a[i]) - float64(b[i]))
		if math.IsNaN(d) {
			return math.Inf(1)
		}
		worst = max(worst, d)
	}
	return worst
}

func openVAE(t *testing.T) *VAE {
	t.Helper()
	rt, err := ort.Open(ort.Config{Threads: 1}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rt.Close(); err != nil {
			t.Error(err)
		}
	})
	ix, err := checkpoint.Open(vaeWeights)
	if err != nil {
		t.Fatal(err)
	}
	v, unused, err := newVAE(site{rt: rt, network: plan.VAE, device: cpu(checkpoint.F32)}, ix)
	if err != nil {
		t.Fatal(err)
	}
	if len(unused) > 0 {
		t.Errorf("unused tensors: %v", unused)
	}
	return v
}

// decode collects the frames as one clip [3, T, H, W].
func decode(t *testing.T, v *VAE, z *Latent) []float32 {
	t.Helper()
	var frames [][]float32
	err := v.DecodeFloats(t.Context(), z, func(frame []float32) error {
		frames = append(frames, slices.Clone(frame))
		return nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var clip []float32
	for c := range 3 {
		for _, f := range frames {
			clip = append(clip, f[c*len(f)/3:(c+1)*len(f)/3]...)
		}
	}
	return clip
}

// head is the first n frames of a clip [3, T, pixels].
func head(video []float32, frames, n int) []float32 {
	pixels := len(video) / 3 / frames
	var out []float32
	for c := range 3 {
		out = append(out, video[c*frames*pixels:][:n*pixels]...)
	}
	return out
}

func TestVAEEncode(t *testing.T) {
	c, v := goldentest.Open(t, "vae_encode"), openVAE(t)
	video, shape := c.Floats(t, "in.video"), c.Shape(t, "in.video")
	frames, height, width := int(shape[1]), int(shape[2]), int(shape[3])
	for _, n := range []int{1, 2, 4, 9} {
		z, err := v.Encode(t.Context(), head(video, frames, n), n, height, width)
		if err != nil {
			t.Fatal(err)
		}
		name := "out.latent_9"
		if n < 5 { // frames beyond 1+4k are dropped
			name = "out.latent_1"
		}
		c.Near(t, name, z.Data)
	}
}

func TestVAEDecode(t *testing.T) {
	c, v := goldentest.Open(t, "vae_decode"), openVAE(t)
	data, shape := c.Floats(t, "in.z"), c.Shape(t, "in.z")
	z := &Latent{int(shape[1]), int(shape[2]), int(shape[3]), data}
	c.Near(t, "out.video_1", decode(t, v, z.Slice(0, 1)))
	all := decode(t, v, z)
	c.Near(t, "out.video_4", all)
	v.decompose = true
	if d := distance(t, decode(t, v, z), all); d > 2e-5 {
		t.Errorf("standard operators and fused ones differ by %g", d)
	}
}

func TestVAEDecomposedEncode(t *testing.T) {
	c, v := goldentest.Open(t, "vae_encode"), openVAE(t)
	video, shape := c.Floats(t, "in.video"), c.Shape(t, "in.video")
	var z [2]*Latent
	for i := range z {
		v.decompose = i == 1
		var err error
		if z[i], err = v.Encode(t.Context(), video, int(shape[1]), int(shape[2]), int(shape[3])); err != nil {
			t.Fatal(err)
		}
	}
	if d := distance(t, z[1].Data, z[0].Data); d > 2e-5 {
		t.Errorf("standard operators and fused ones differ by %g", d)
	}
}

// TestZeroVAE encodes grey clips of the sizes whose encodings are published, and another.
func TestZeroVAE(t *testing.T) {
	c, v := goldentest.Open(t, "zero_vae"), openVAE(t)
	zeros := func(frames, height, width int) *Latent {
		z, err := v.EncodeZeros(t.Context(), frames, height, width)
		if err != nil {
			t.Fatal(err)
		}
		return z
	}
	c.Near(t, "out.other", zeros(17, 16, 32).Data)
	for _, file := range []struct {
		name                  string
		frames, height, width int
	}{{"480", 129, 32, 48}, {"720", 161, 48, 32}} {
		z := zeros(file.frames, file.height, file.width)
		c.Near(t, "out.file_"+file.name+"_first6", z.Slice(0, 6).Data)
		c.Near(t, "out.file_"+file.name+"_last", z.Slice(z.Frames-1, z.Frames).Data)
	}
}

// TestZeroVAESettles compares the short cut with the whole computation: equal bits. The frame before the one that is
// copied differs, so the short cut starts where it may and not later.
func TestZeroVAESettles(t *testing.T) {
	v := openVAE(t)
	const frames, height, width = 1 + 4*30, 16, 24
	short, err := v.EncodeZeros(t.Context(), frames, height, width)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := v.Encode(t.Context(), make([]float32, 3*frames*height*width), frames, height, width)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(short.Data, whole.Data) {
		t.Errorf("the short cut differs by %g", distance(t, short.Data, whole.Data))
	}
	if slices.Equal(whole.Slice(27, 28).Data, whole.Slice(28, 29).Data) {
		t.Error("the encoding settles earlier than EncoderTransient says")
	}
}

// TestVAEStreams sees every frame before the next chunk is decoded.
func TestVAEStreams(t *testing.T) {
	v := openVAE(t)
	var got []string
	err := v.DecodeFloats(t.Context(), NewLatent(3, 2, 2), func(frame []float32) error {
		got = append(got, fmt.Sprintf("frame of %d", len(frame)))
		return nil
	}, func(done, total int) { got = append(got, fmt.Sprintf("%d/%d", done, total)) })
	if err != nil {
		t.Fatal(err)
	}
	f := "frame of 768"
	want := []string{"0/3", f, "1/3", f, f, f, f, "2/3", f, f, f, f, "3/3"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestVAEStops ends decoding by its context and by its consumer; the runtime's Close in openVAE fails if a session leaks.
func TestVAEStops(t *testing.T) {
	v := openVAE(t)
	ctx, cancel := context.WithCancel(t.Context())
	frames := 0
	err := v.Decode(ctx, NewLatent(4, 2, 2), func([]byte) error {
		frames++
		cancel()
		return nil
	}, nil)
	if !errors.Is(err, context.Canceled) || frames != 1 {
		t.Errorf("after %d frames: %v", frames, err)
	}
	if _, err := v.EncodeZeros(ctx, 9, 16, 16); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	broken := errors.New("the pipe is gone")
	if err := v.Decode(t.Context(), NewLatent(2, 2, 2), func([]byte) error { return broken }, nil); !errors.Is(err, broken) {
		t.Error(err)
	}
}

func TestVAEBadSize(t *testing.T) {
	v := openVAE(t)
	for _, c := range []struct{ values, frames, height, width int }{{3 * 16 * 20, 1, 16, 20}, {0, 0, 16, 16}, {3 * 256, 2, 16, 16}} {
		if _, err := v.Encode(t.Context(), make([]float32, c.values), c.frames, c.height, c.width); fault.CodeOf(err) != "bad_size" {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestVAECheckpoint wants missing tensors of both halves in one fault, and another network's shapes refused.
func TestVAECheckpoint(t *testing.T) {
	ix, err := checkpoint.Open(vaeWeights)
	if err != nil {
		t.Fatal(err)
	}
	if len(ix.Tensors) != 194 {
		t.Errorf("%d tensors, want the published 194", len(ix.Tensors))
	}
	lacking := *ix
	lacking.Tensors = maps.Clone(ix.Tensors)
	gone := []string{"encoder.downsamples.5.time_conv.weight", "decoder.upsamples.4.shortcut.bias", "conv2.weight"}
	for _, name := range gone {
		delete(lacking.Tensors, name)
	}
	_, _, err = newVAE(site{}, &lacking)
	if fault.CodeOf(err) != "missing_tensors" {
		t.Fatal(err)
	}
	for _, name := range gone {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
	for _, name := range []string{"encoder.conv1.weight", "decoder.upsamples.11.resample.1.weight", "decoder.middle.1.proj.weight", "encoder.head.2.bias",
		"decoder.upsamples.3.time_conv.weight", "encoder.downsamples.5.time_conv.weight", "conv1.weight"} {
		for _, shape := range [][]int64{{}, {7}, {7, 3, 1, 1}, {7, 3, 1, 1, 1}, {4, 4, 1, 1, 1}} {
			odd := *ix
			odd.Tensors = maps.Clone(ix.Tensors)
			odd.Tensors[name] = &checkpoint.Tensor{Name: name, DType: checkpoint.F32, Shape: shape, Stride: make([]int64, len(shape))}
			if _, _, err := newVAE(site{}, &odd); fault.CodeOf(err) != "wrong_shape" {
				t.Errorf("%s as %v: %v", name, shape, err)
			}
		}
	}
}
