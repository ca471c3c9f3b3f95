package inference

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/plan"
	"github.com/humo-worker/humo-worker/inference/textcache"
)

// likeACard opens an engine with so many devices of the sort that cards are: weights are copied there, tensors are reached
// by copying only, and clips follow plans. It is the CPU that computes on them.
func likeACard(t *testing.T, dtype DType, devices int) *Engine {
	t.Helper()
	e := openEngine(t)
	var list []*device
	for i := range devices {
		list = append(list, &device{place: ort.Place{Kind: ort.Arena, Device: i}, dtype: types[dtype]})
	}
	e.become(t, list...)
	return e
}

// become gives an engine other devices.
func (e *Engine) become(t *testing.T, devices ...*device) {
	t.Helper()
	if err := closeDevices(e.devices); err != nil {
		t.Fatal(err)
	}
	e.devices, e.models = devices, map[Variant]*Models{}
	for _, d := range devices {
		if err := d.open(e.rt); err != nil {
			t.Fatal(err)
		}
	}
}

// cards are the different plans for the published 17B on cards from 160 gigabytes down to the smallest that is enough.
func cards(t *testing.T) (list []*plan.Plan) {
	t.Helper()
	for _, j := range []plan.Job{{Width: 1280, Height: 720, Frames: 97}, {Width: 1280, Height: 720, Frames: 9}} {
		for megabytes := int64(160_000); ; megabytes -= 500 {
			p, err := plan.Make(plan.Published("17B", 2), j, plan.Device{Free: megabytes * 1e6, Compute: 2, Text: 2, Base: plan.CUDABase})
			if err != nil {
				break
			}
			if !slices.ContainsFunc(list, func(other *plan.Plan) bool { return way(other) == way(p) }) {
				list = append(list, p)
			}
		}
	}
	return list
}

func way(p *plan.Plan) string {
	return fmt.Sprint("resident: ", p.Resident, ", streamed: ", p.Groups > 1, ", memories: ", p.Memories)
}

// pretend gives the engine a plan, whatever the clip.
func (e *Engine) pretend(p *plan.Plan) {
	e.layOut = func(plan.Model, plan.Job, plan.Device) (*plan.Plan, error) { return p, nil }
}

// onShelves lists the networks that have weights on a device.
func onShelves(d *device) (list []plan.Network) {
	for _, n := range plan.Networks {
		if d.shelves[n].Bytes() > 0 {
			list = append(list, n)
		}
	}
	return list
}

// frames makes a whole clip's frames. No prompt is remembered, so that the text encoder runs.
func frames(t *testing.T, e *Engine, s Spec, observe func(Stage)) []byte {
	t.Helper()
	m, err := e.Models(s.Variant)
	if err != nil {
		t.Fatal(err)
	}
	m.Text.cache = textcache.Open(textcache.Config{Folder: "none"}, zerolog.Nop())
	in, err := Decode(t.Context(), &s)
	if err != nil {
		t.Fatal(err)
	}
	z, err := e.Denoise(t.Context(), &s, in, func(stage Stage) func(done, total int) {
		observe(stage)
		return func(int, int) {}
	})
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	err = e.Frames(t.Context(), s.Variant, z, nil, func(rgb []byte) error {
		all = append(all, rgb...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// However little memory cards have, a clip has the same bytes: with everything resident, with networks that come and go,
// streamed, and with the VAE's memories on the host; and those of the CPU, where weights are mapped. What the plan keeps
// stays for the next clip, and nothing else.
func TestEveryPlanGivesTheSameClip(t *testing.T) {
	plans := cards(t)
	if len(plans) < 6 {
		t.Errorf("only %d plans differ", len(plans))
	}
	for _, dtype := range []DType{FP16, BF16} {
		t.Run(string(dtype), func(t *testing.T) {
			s := spec(t)
			s.Variant, s.Steps, s.Frames = Variant17B, 1, 5
			e := likeACard(t, dtype, 2)
			cards, d := e.devices, e.devices[0]
			e.become(t, cpu(types[dtype]))
			e.pretend(plans[0])
			want := frames(t, e, s, func(Stage) {})
			e.become(t, cards...)
			for i, p := range plans {
				if last := len(plans) - 1; dtype == FP16 && 0 < i && i < last || i%2 == 1 && i < last {
					continue // every second way has all that others have, and beside bf16 the first and the last are enough
				}
				e.pretend(p)
				got := frames(t, e, s, func(stage Stage) {
					if stage == StageDenoise {
						for _, n := range onShelves(d) { // what is here is kept, or the transformer's
							if !slices.Contains(p.Resident, n) {
								t.Errorf("%s: the %s is on the device while denoising", way(p), n)
							}
						}
					}
				})
				if !bytes.Equal(got, want) {
					t.Errorf("%s: other bytes", way(p))
				}
				kept := slices.DeleteFunc(slices.Clone(p.Resident), func(n plan.Network) bool { return n == plan.Text && dtype == FP16 })
				if there := onShelves(d); !slices.Equal(there, kept) {
					t.Errorf("%s: afterwards %v are on the device, want %v", way(p), there, kept)
				}
				if there := onShelves(e.devices[1]); slices.Contains(kept, plan.DiT) != (len(there) == 1 && there[0] == plan.DiT) {
					t.Errorf("%s: afterwards %v are on the second device", way(p), there)
				}
			}
		})
	}
}

// The next clip finds the weights that stay: nothing is copied again.
func TestResidentWeightsStay(t *testing.T) {
	e := likeACard(t, BF16, 1)
	e.pretend(cards(t)[0])
	s := spec(t)
	first := frames(t, e, s, func(Stage) {})
	held := e.rt.Held(e.devices[0].place)
	if held == 0 || e.devices[0].shelves[plan.DiT].Bytes() == 0 {
		t.Fatalf("%d bytes stay", held)
	}
	if again := frames(t, e, s, func(Stage) {}); !bytes.Equal(first, again) {
		t.Error("the second clip has other bytes")
	}
	if now := e.rt.Held(e.devices[0].place); now != held {
		t.Errorf("%d bytes stay after the second clip, %d after the first", now, held)
	}
}

// A clip waits for the device until the one before is done or its own context ends, and a failed one leaves it free.
func TestTurns(t *testing.T) {
	e := likeACard(t, BF16, 1)
	p := &plan.Plan{Resident: plan.Networks}
	end, err := e.begin(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.begin(ctx, p); !errors.Is(err, context.Canceled) {
		t.Errorf("a second clip began: %v", err)
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
	s := spec(t)
	for range 600 {
		s.Prompt += " 7"
	}
	if _, err := e.Generate(t.Context(), s, ignore); err == nil {
		t.Error("a prompt that is too long was encoded")
	}
	if _, err := e.Generate(t.Context(), spec(t), ignore); err != nil {
		t.Errorf("the next clip: %v", err)
	}
}

// The estimate of a plan counts the weights at the types in which they are copied.
func TestSizesOfCopiedWeights(t *testing.T) {
	sizes := map[DType]plan.Model{}
	for _, dtype := range []DType{FP32, FP16, BF16} {
		t.Run(string(dtype), func(t *testing.T) {
			e := likeACard(t, dtype, 1)
			m, err := e.Models(Variant1B)
			if err != nil {
				t.Fatal(err)
			}
			if sizes[dtype], err = e.size(m); err != nil {
				t.Fatal(err)
			}
			c := e.capacity()
			if c.Mapped || c.Compute != types[dtype].Size() || (c.Text == 0) != (dtype != BF16) {
				t.Errorf("capacity %+v", c)
			}
		})
	}
	half, whole := sizes[BF16].Bytes, sizes[FP32].Bytes
	if 2*half[plan.DiT] != whole[plan.DiT] || half[plan.VAE] != whole[plan.VAE] || 2*half[plan.Text] != whole[plan.Text] || 2*sizes[FP16].BlockBytes != sizes[FP32].BlockBytes || half[plan.DiT] == 0 {
		t.Errorf("in bf16 %v, in fp32 %v", half, whole)
	}
}
