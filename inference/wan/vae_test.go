package wan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
)

func loadVAE(t *testing.T) *VAE {
	t.Helper()
	ix, err := checkpoint.Open("../../testdata/golden/dev/weights/Wan2.1-T2V-1.3B/Wan2.1_VAE.pth")
	if err != nil {
		t.Fatal(err)
	}
	v, _, err := LoadVAE(ix)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVAEFrames(t *testing.T) {
	for frames, want := range map[int][2]int{1: {1, 1}, 4: {1, 1}, 5: {2, 5}, 9: {3, 9}, 97: {25, 97}, 100: {25, 97}, 129: {33, 129}} {
		if got := [2]int{LatentFrames(frames), VideoFrames(LatentFrames(frames))}; got != want {
			t.Errorf("%d frames: %v, want %v", frames, got, want)
		}
	}
}

// TestVAEState: the next chunk reads what the first leaves, but for the older of each pair of frames, which lies before the
// clip, and for the temporal upsamplers, which do not see the first frame. What it reads, it leaves with the same shape.
func TestVAEState(t *testing.T) {
	v := loadVAE(t)
	for _, half := range []struct {
		name    string
		network func(h, w int64, c Chunk) *graph.Network
		unseen  []string // by the first chunk
	}{
		{"encoder", v.EncoderNetwork, nil},
		{"decoder", v.DecoderNetwork, []string{"decoder.upsamples.3.time_conv.1", "decoder.upsamples.7.time_conv.1"}},
	} {
		first, next, only := half.network(2, 3, First), half.network(2, 3, Next), half.network(2, 3, Only)
		var want []string
		for _, name := range first.State {
			if strings.HasSuffix(name, ".1") {
				want = append(want, strings.TrimSuffix(name, "1")+"0")
			}
			want = append(want, name)
		}
		for _, name := range half.unseen {
			want = append(want, name, strings.TrimSuffix(name, "1")+"0")
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, slices.Sorted(slices.Values(next.State))); diff != "" {
			t.Errorf("%s: state of the next chunk: %s", half.name, diff)
		}
		if len(only.State) > 0 {
			t.Errorf("%s: a clip of one frame leaves %v", half.name, only.State)
		}
		models, err := next.Split(graph.Options{Weights: graph.Bound})
		if err != nil {
			t.Fatal(err)
		}
		left := map[string]string{}
		for i, m := range models {
			for k, p := range m.Outputs {
				left[next.Stages[i].Out[k]] = fmt.Sprint(p.Shape)
			}
		}
		for _, p := range next.Inputs {
			if slices.Contains(next.State, p.Name) && left[p.Name] != fmt.Sprint(p.Shape) {
				t.Errorf("%s: %s is read as %v and left as %s", half.name, p.Name, p.Shape, left[p.Name])
			}
		}
	}
}

// TestVAESharesModels: frames of one layer and equal layers are one model, so that few sessions serve many stages.
func TestVAESharesModels(t *testing.T) {
	v := loadVAE(t)
	models, err := v.DecoderNetwork(2, 3, Next).Split(graph.Options{Weights: graph.Bound})
	if err != nil {
		t.Fatal(err)
	}
	distinct := map[string]bool{}
	for _, m := range models {
		distinct[string(m.Bytes)] = true
	}
	if len(models) != 59 || len(distinct) > 15 {
		t.Errorf("%d stages run on %d models, want 59 on 15", len(models), len(distinct))
	}
}

// TestVAEMemory: between stages, little more than one set of the convolutions' memories is alive (3.8 GB at 832×480 in the
// published width, 24 times this one).
func TestVAEMemory(t *testing.T) {
	v := loadVAE(t)
	n := v.DecoderNetwork(60, 104, Next)
	models, err := n.Split(graph.Options{Weights: graph.Bound})
	if err != nil {
		t.Fatal(err)
	}
	sizes, caches := map[string]int64{}, int64(0)
	for _, p := range n.Inputs {
		sizes[p.Name] = bytes(p)
		caches += bytes(p)
	}
	peak, last := caches, n.LastReads()
	for i, m := range models {
		before := sum(sizes)
		for _, p := range m.Outputs {
			before += bytes(p)
		}
		peak = max(peak, before)
		for _, name := range last[i] {
			delete(sizes, name)
		}
		for k, p := range m.Outputs {
			sizes[n.Stages[i].Out[k]] = bytes(p)
		}
	}
	if peak > caches*13/10 {
		t.Errorf("%d bytes at the peak for memories of %d", peak, caches)
	}
}

func bytes(p graph.Port) int64 { return graph.Value{Shape: p.Shape}.Elements() * p.DType.Size() }

func sum(m map[string]int64) (total int64) {
	for _, n := range m {
		total += n
	}
	return total
}
