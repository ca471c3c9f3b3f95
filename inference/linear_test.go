package inference

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/golden"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/plan"
)

// fastClip is an engine with a distilled adapter for the golden 17B, and a fast clip.
func fastClip(t *testing.T) (*Engine, string, Spec, *Material) {
	t.Helper()
	if !ort.Int8Exact() {
		t.Skip("this processor has no VNNI instructions")
	}
	e, dir := workshop(t)
	m, err := e.Models(Variant17B)
	if err != nil {
		t.Fatal(err)
	}
	s := spec(t)
	s.Variant, s.Quality, s.Steps, s.Frames, s.LoRAs = Variant17B, Fast, 6, 5, []LoRA{{Name: "distilled.safetensors", Strength: 1}}
	pairs := styles["peft"](adapter(rand.New(rand.NewPCG(1, 2)), m.Transformer.ix, 2, 0))
	writeTensors(t, filepath.Join(dir, s.LoRAs[0].Name), true, pairs)
	in, err := Decode(t.Context(), &s)
	if err != nil {
		t.Fatal(err)
	}
	return e, dir, s, in
}

func ignoreSteps(Stage) func(int, int) { return func(int, int) {} }

func (e *Engine) latents(t *testing.T, s Spec, in *Material) ([]float32, Linear) {
	t.Helper()
	z, how, err := e.denoise(t.Context(), &s, in, ignoreSteps)
	if err != nil {
		t.Fatal(err)
	}
	return z.Data, how.linear
}

// apart is ‖a - b‖ / ‖b‖.
func apart(t *testing.T, a, b []float32) float64 {
	t.Helper()
	if len(a) != len(b) || len(a) == 0 {
		t.Fatalf("%d and %d values", len(a), len(b))
	}
	return golden.RelativeL2(a, b)
}

// A fast clip on the CPU has its layers in 8 bits, says so, and is a rounding away from the one in float32; the adapter beside the
// layers is in there. The copies of the weights take what the plan counted, while the transformer runs and no longer.
func TestFastIsInt8(t *testing.T) {
	e, _, s, in := fastClip(t)
	m, err := e.Models(s.Variant)
	if err != nil {
		t.Fatal(err)
	}
	paths, err := e.findLoRAs(&s)
	if err != nil {
		t.Fatal(err)
	}
	dit, err := e.adapt(t.Context(), &s, m.Transformer, paths)
	if err != nil {
		t.Fatal(err)
	}
	copies, err := dit.int8Copies()
	if err != nil {
		t.Fatal(err)
	}
	if want := 10 * len(m.Transformer.net.Blocks); copies.Int8 != want {
		t.Errorf("%d layers are in 8 bits, want %d", copies.Int8, want)
	}
	held := int64(0)
	s.SaveEvery, s.Save = 1, func(*Checkpoint) { held = max(held, e.rt.Held(ort.Place{})) }
	rounded, linear := e.latents(t, s, in)
	if linear != (Linear{DType: INT8}) {
		t.Errorf("%+v", linear)
	}
	if held != copies.Bytes || e.rt.Held(ort.Place{}) != 0 {
		t.Errorf("the copies take %d bytes, %d of them after the clip; %d are counted", held, e.rt.Held(ort.Place{}), copies.Bytes)
	}
	again, _ := e.latents(t, s, in)
	if !slices.Equal(again, rounded) {
		t.Error("the same clip again has other numbers")
	}
	e.Measure(nil, false)
	full, linear := e.latents(t, s, in)
	if linear.DType != FP32 || linear.Reason == "" || e.rt.Held(ort.Place{}) != 0 {
		t.Errorf("%+v", linear)
	}
	if off := apart(t, rounded, full); !(off > 1e-5 && off <= 0.05) {
		t.Errorf("in 8 bits the latents are off by %.2g", off)
	} else {
		t.Logf("in 8 bits the latents are off by %.2g", off)
	}
	e.Measure(nil, true)
	s.LoRAs[0].Strength, s.LoRAs[0].SHA256 = 0, ""
	bare, _ := e.latents(t, s, in)
	if change := apart(t, bare, full); change < 10*apart(t, rounded, full) {
		t.Errorf("the adapter changes the clip by %.2g only", change)
	}
}

// Only fast clips are rounded: exact and balanced ones have the same bits as where 8 bits are not to be had.
func TestOnlyFastIsInt8(t *testing.T) {
	e, _, s, in := fastClip(t)
	s.LoRAs, s.Steps = nil, 4
	for _, q := range []Quality{Exact, Balanced} {
		s.Quality = q
		e.Measure(nil, true)
		with, linear := e.latents(t, s, in)
		e.Measure(nil, false)
		without, _ := e.latents(t, s, in)
		if linear != (Linear{DType: FP32}) || !slices.Equal(with, without) {
			t.Errorf("%s: %+v, or other numbers", q, linear)
		}
	}
}

// Where 8 bits cannot be had, a fast clip is made in float32 and says why.
func TestFastWithoutInt8(t *testing.T) {
	e, dir, s, in := fastClip(t)
	e.Measure(nil, false)
	want, _ := e.latents(t, s, in)
	e.Measure(nil, true)
	try := func(name, reason string) {
		t.Helper()
		got, linear := e.latents(t, s, in)
		if linear.DType != FP32 || !strings.Contains(linear.Reason, reason) || !slices.Equal(got, want) {
			t.Errorf("%s: %+v, or other numbers", name, linear)
		}
		if estimate, err := e.Estimate(t.Context(), s); err != nil || estimate.Linear != linear {
			t.Errorf("%s: the estimate is for %+v, the clip has %+v (%v)", name, estimate.Linear, linear, err)
		}
	}
	e.int8Exact = func() bool { return false }
	try("no VNNI", "VNNI")
	e.int8Exact = nil

	m, err := e.Models(s.Variant)
	if err != nil {
		t.Fatal(err)
	}
	job := plan.Job{Width: s.Width, Height: s.Height, Frames: s.Frames, References: 1}
	way, err := e.plan(m, job)
	if err != nil {
		t.Fatal(err)
	}
	copies, err := m.Transformer.int8Copies()
	if err != nil {
		t.Fatal(err)
	}
	denoise := way.Stages[slices.IndexFunc(way.Stages, func(s plan.Stage) bool { return s.Name == plan.StageDiT })].Peak
	if denoise+copies.Bytes <= way.Peak { // the tiny transformer is nothing beside the tiny VAE: pretend that only it is there
		e.layOut = func(size plan.Model, job plan.Job, d plan.Device) (*plan.Plan, error) {
			p, err := onlyWay(size, job, d)
			p.Peak = denoise
			return p, err
		}
	}
	e.available = func() (int64, bool) { return denoise - plan.CPUBase + copies.Bytes/2, true }
	try("little memory", "not enough memory")
	e.available, e.layOut = nil, nil

	if _, linear := e.latents(t, s, in); linear.DType != INT8 {
		t.Errorf("with everything there: %+v", linear)
	}
	whole := map[string]matrix{} // differences of all layers, in the adapter's place
	r := rand.New(rand.NewPCG(3, 4))
	for name, w := range m.Transformer.ix.Tensors {
		if layer, ok := strings.CutSuffix(name, ".weight"); ok && strings.HasPrefix(name, "blocks.") && len(w.Shape) == 2 {
			whole["diffusion_model."+layer+".diff"] = randomMatrix(r, w.Shape...)
		}
	}
	writeTensors(t, filepath.Join(dir, s.LoRAs[0].Name), true, whole)
	e.Measure(nil, false)
	want, _ = e.latents(t, s, in)
	e.Measure(nil, true)
	if got, linear := e.latents(t, s, in); linear.DType != FP32 || !strings.Contains(linear.Reason, "adapter") || !slices.Equal(got, want) {
		t.Errorf("all layers changed: %+v, or other numbers", linear)
	}
}

// A clip that was begun in 8 bits goes on in 8 bits and ends in the same bits. Elsewhere it starts anew, and so does one that was
// begun in float32.
func TestResumeInt8(t *testing.T) {
	e, _, s, in := fastClip(t)
	begun := map[DType]*Checkpoint{}
	want := map[DType][]float32{}
	for _, dtype := range []DType{FP32, INT8} {
		e.Measure(nil, dtype == INT8)
		s.SaveEvery, s.Save = 3, func(c *Checkpoint) { begun[dtype] = c }
		got, linear := e.latents(t, s, in)
		if linear.DType != dtype {
			t.Fatalf("%+v, want %s", linear, dtype)
		}
		want[dtype] = got
	}
	s.Save = nil
	for _, from := range []DType{FP32, INT8} {
		for _, to := range []DType{FP32, INT8} {
			e.Measure(nil, to == INT8)
			s.Resume = begun[from]
			first := -1
			z, _, err := e.denoise(t.Context(), &s, in, func(stage Stage) func(int, int) {
				return func(done, _ int) {
					if stage == StageDenoise && first < 0 {
						first = done
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			starts := 0
			if from == to {
				starts = 3
			}
			if first != starts || !slices.Equal(z.Data, want[to]) {
				t.Errorf("begun in %s, gone on in %s: it went on from step %d, want %d; or has other numbers", from, to, first, starts)
			}
		}
	}
}

// What fast clips in 8 bits took is learned apart from all others; before, they are taken to need less time.
func TestEstimateInt8(t *testing.T) {
	e, _, s, _ := fastClip(t)
	seconds := func(int8 bool) float64 {
		t.Helper()
		e.Measure(nil, int8)
		got, err := e.Estimate(t.Context(), s)
		if err != nil || (got.Linear.DType == INT8) != int8 {
			t.Fatalf("%+v, %v", got, err)
		}
		return got.Seconds
	}
	if with, without := seconds(true), seconds(false); !(with < 0.9*without && with > 0.3*without) {
		t.Errorf("%g s in 8 bits, %g s in float32", with, without)
	}
	took := func(d DType, seconds float64) {
		e.learn(s, &Clip{Frames: s.Frames, Linear: Linear{DType: d}, Timings: map[Stage]float64{StageDenoise: seconds}})
	}
	took(FP32, 100)
	if with, without := seconds(true), seconds(false); !(with < 0.9*without && math.Abs(without-100) < 1e-6) {
		t.Errorf("%g s in 8 bits, %g s in float32", with, without)
	}
	took(INT8, 10)
	if with, without := seconds(true), seconds(false); math.Abs(with-10) > 1e-6 || math.Abs(without-100) > 1e-6 {
		t.Errorf("%g s in 8 bits, %g s in float32", with, without)
	}
}
