package inference

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/sampler"
)

// Checkpoint is a clip between two denoising steps: enough to go on in another process and end in the same bytes.
type Checkpoint struct {
	Fingerprint string // of all that the clip depends on; one of another request is not used
	Seed        uint64 // of the clip: who drew it at random needs it to ask for the same clip again
	Latents     []float32
	Solver      sampler.State
	Reuse       sampler.ReuseState // empty if the clip's quality computes every step
}

// checkpointHeader precedes the numbers in a stored checkpoint.
type checkpointHeader struct {
	Format      string `json:"format"`
	Fingerprint string `json:"fingerprint"`
	Seed        uint64 `json:"seed"`
	Step        int    `json:"step"`
	Order       int    `json:"order"`
	Values      int    `json:"values"`      // of the latents, and of each array below
	Predictions int    `json:"predictions"` // arrays

	Reuse *reuseHeader `json:"reuse,omitempty"` // with three arrays more
}

// reuseHeader is ReuseState without its arrays.
type reuseHeader struct {
	Timestep int64   `json:"timestep"`
	Rate     float64 `json:"rate"`
	Error    float64 `json:"error"`
	Spared   int     `json:"spared"`
}

const checkpointFormat = "humo-checkpoint-1"

// MarshalBinary encodes the checkpoint: a JSON line, little-endian float32 arrays (latents, corrected latents,
// predictions, and of a reuse state input, velocity and before), and the SHA-256 of both, so that half a file is never taken for a whole one.
func (c *Checkpoint) MarshalBinary() ([]byte, error) {
	h := checkpointHeader{Format: checkpointFormat, Fingerprint: c.Fingerprint, Seed: c.Seed, Step: c.Solver.Step, Order: c.Solver.Order,
		Values: len(c.Latents), Predictions: len(c.Solver.Predictions)}
	arrays := slices.Concat([][]float32{c.Latents, c.Solver.Corrected}, c.Solver.Predictions)
	if r := &c.Reuse; r.Input != nil {
		h.Reuse = &reuseHeader{r.Timestep, r.Rate, r.Error, r.Spared}
		arrays = append(arrays, r.Input, r.Velocity, r.Before)
	}
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(h); err != nil {
		return nil, err
	}
	for _, a := range arrays {
		if len(a) != h.Values {
			return nil, fmt.Errorf("a checkpoint of arrays of %d and %d values", h.Values, len(a))
		}
		if err := binary.Write(&b, binary.LittleEndian, a); err != nil {
			return nil, err
		}
	}
	sum := sha256.Sum256(b.Bytes())
	return append(b.Bytes(), sum[:]...), nil
}

// UnmarshalBinary decodes what MarshalBinary made. Anything else is a fault "bad_checkpoint".
func (c *Checkpoint) UnmarshalBinary(data []byte) error {
	bad := fault.New("bad_checkpoint", "", "the stored checkpoint is damaged; the clip starts from its first step")
	body := len(data) - sha256.Size
	if body < 0 || sha256.Sum256(data[:body]) != [sha256.Size]byte(data[body:]) {
		return bad
	}
	line, numbers, _ := bytes.Cut(data[:body], []byte("\n"))
	var h checkpointHeader
	if err := json.Unmarshal(line, &h); err != nil || h.Format != checkpointFormat {
		return bad.Because(err)
	}
	arrays := 2 + h.Predictions
	if h.Reuse != nil {
		arrays += 3
	}
	// The first bound keeps the product from overflowing: the checkpoint may be anybody's who writes to the bucket.
	if h.Values < 1 || h.Values > len(numbers)/4 || h.Predictions < 1 || h.Predictions > 2 || len(numbers) != 4*h.Values*arrays {
		return bad
	}
	next := func() []float32 {
		a := make([]float32, h.Values)
		for i := range a {
			a[i] = math.Float32frombits(binary.LittleEndian.Uint32(numbers[4*i:]))
		}
		numbers = numbers[4*h.Values:]
		return a
	}
	*c = Checkpoint{Fingerprint: h.Fingerprint, Seed: h.Seed, Latents: next(), Solver: sampler.State{Step: h.Step, Order: h.Order, Corrected: next()}}
	for range h.Predictions {
		c.Solver.Predictions = append(c.Solver.Predictions, next())
	}
	if r := h.Reuse; r != nil {
		c.Reuse = sampler.ReuseState{Input: next(), Velocity: next(), Before: next(),
			Timestep: r.Timestep, Rate: r.Rate, Error: r.Error, Spared: r.Spared}
	}
	return nil
}

// fits reports whether the checkpoint is one of this clip.
func (c *Checkpoint) fits(fingerprint string, steps, values int) bool {
	return c != nil && c.Fingerprint == fingerprint && len(c.Latents) == values && c.Solver.Step > 0 && c.Solver.Step < steps
}

// fingerprint is a hash of everything that decides a clip's numbers but for the model's weights and the hardware: so a clip that was
// begun with its linear layers in other numbers starts anew.
func fingerprint(s *Spec, in *Material, frames int, linear DType) (string, error) {
	sum := sha256.New()
	numbers := []any{s.Variant, s.Mode, s.Prompt, s.NegativePrompt, frames, s.Width, s.Height, s.FPS, s.Steps, s.Shift, s.Seed,
		s.ScaleT, s.ScaleA, s.ScaleI, s.StepChange, s.IsolateVocals, len(in.Wave), len(in.Pictures)}
	if s.Quality == Fast || s.Quality == Balanced || len(s.LoRAs) > 0 { // others keep the fingerprint of older workers
		numbers = append(numbers, s.Quality, s.LoRAs)
	}
	if s.Quality == Balanced {
		numbers = append(numbers, sampler.BalancedGate, sampler.BalancedThreshold)
	}
	if linear != FP32 {
		numbers = append(numbers, linear)
	}
	if err := json.NewEncoder(sum).Encode(numbers); err != nil {
		return "", err
	}
	for _, a := range [][]float32{in.Wave, in.Noise} {
		if err := binary.Write(sum, binary.LittleEndian, a); err != nil {
			return "", err
		}
	}
	for _, p := range in.Pictures {
		if err := json.NewEncoder(sum).Encode([]int{p.Width, p.Height}); err != nil {
			return "", err
		}
		sum.Write(p.RGB)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
