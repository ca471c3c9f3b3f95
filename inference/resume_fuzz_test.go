package inference

import (
	"bytes"
	"crypto/sha256"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/sampler"
)

// FuzzCheckpoint reads any stored state of a clip, with a digest that fits so that more than the digest is tried: it is the
// fault "bad_checkpoint", or a state whose arrays fit each other and are no larger than what was stored, and storing that again
// gives the same state. With another digest it is never taken.
func FuzzCheckpoint(f *testing.F) {
	plain := &Checkpoint{Fingerprint: "f", Seed: math.MaxUint64, Latents: []float32{1, 2}, Solver: sampler.State{Step: 1, Order: 1, Predictions: [][]float32{{3, 4}}, Corrected: []float32{5, 6}}}
	reused := &Checkpoint{Latents: []float32{1}, Solver: sampler.State{Step: 2, Order: 2, Predictions: [][]float32{{3}, {4}}, Corrected: []float32{5}},
		Reuse: sampler.ReuseState{Input: []float32{6}, Velocity: []float32{7}, Before: []float32{8}, Timestep: 900, Rate: 0.5, Error: 1e-3, Spared: 2}}
	for _, c := range []*Checkpoint{plain, reused} {
		b, err := c.MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		header, numbers, _ := bytes.Cut(b[:len(b)-sha256.Size], []byte("\n"))
		f.Add(string(header), numbers)
	}
	f.Add(`{"format": "humo-checkpoint-1", "values": -1, "predictions": 1}`, []byte{})
	f.Add(`{"format": "humo-checkpoint-1", "values": 1000000000, "predictions": 2}`, []byte{0, 0, 0, 0})
	f.Add(`{"format": "humo-checkpoint-1", "values": 4611686018427387904, "predictions": 1}`, []byte{})
	f.Add(`null`, []byte{})
	f.Fuzz(func(t *testing.T, header string, numbers []byte) {
		body := append([]byte(header+"\n"), numbers...)
		sum := sha256.Sum256(body)
		data := append(bytes.Clone(body), sum[:]...)
		c := new(Checkpoint)
		if err := c.UnmarshalBinary(data); err != nil {
			if fault.CodeOf(err) != "bad_checkpoint" || len(err.Error()) > 500 {
				t.Fatalf("%q: %v", header, err)
			}
			return
		}
		n := len(c.Latents)
		arrays := append([][]float32{c.Solver.Corrected}, c.Solver.Predictions...)
		if c.Reuse.Input != nil {
			arrays = append(arrays, c.Reuse.Input, c.Reuse.Velocity, c.Reuse.Before)
		}
		for _, a := range arrays {
			if len(a) != n {
				t.Fatalf("%q: arrays of %d and %d values", header, n, len(a))
			}
		}
		if n < 1 || strings.Contains(header, "\n") || 4*n*(1+len(arrays)) != len(numbers) {
			t.Fatalf("%q: %d arrays of %d values in %d bytes", header, 1+len(arrays), n, len(numbers))
		}
		again, err := c.MarshalBinary()
		if err != nil {
			t.Fatalf("%q: %v", header, err)
		}
		second := new(Checkpoint)
		if err := second.UnmarshalBinary(again); err != nil {
			t.Fatalf("%q: %v", header, err)
		}
		if diff := cmp.Diff(c, second, cmpopts.EquateNaNs()); diff != "" {
			t.Fatalf("%q: stored again it is another state: %s", header, diff)
		}
		data[len(data)-1] ^= 1
		if err := new(Checkpoint).UnmarshalBinary(data); fault.CodeOf(err) != "bad_checkpoint" {
			t.Fatalf("%q with another digest: %v", header, err)
		}
	})
}
