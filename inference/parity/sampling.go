package parity

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/golden"
	"github.com/humo-worker/humo-worker/inference/sampler"
	"github.com/humo-worker/humo-worker/inference/wan"
)

// samplerCase compares sigma tables and trajectories that stored velocities drive.
func samplerCase(_ context.Context, _ *inference.Engine, c *golden.Case) (outputs, error) {
	var config struct{ Runs, Tables [][2]float64 }
	if err := c.Config(&config); err != nil {
		return nil, err
	}
	out := outputs{}
	for _, k := range config.Tables {
		s, label := sampler.Table(int(k[0]), k[1]), fmt.Sprintf("s%d_shift%g", int(k[0]), k[1])
		out["out.sigmas_"+label] = golden.Floats(s.Sigmas, int64(len(s.Sigmas)))
		out["out.timesteps_"+label] = golden.Ints(s.Timesteps...)
		out["out.start_index_"+label] = golden.Ints(s.Start)
	}
	noise, _, err := c.Floats("in.noise")
	if err != nil {
		return nil, err
	}
	for _, k := range config.Runs {
		label := fmt.Sprintf("s%d_shift%g", int(k[0]), k[1])
		velocities, shape, err := c.Floats("in.model_" + label)
		if err != nil {
			return nil, err
		}
		schedule, err := sampler.NewSchedule(int(k[0]), k[1])
		if err != nil {
			return nil, err
		}
		solver, x := sampler.NewUniPC(schedule), slices.Clone(noise)
		var samples []float32
		for i := 0; !solver.Done(); i++ {
			if err := solver.Advance(x, velocities[i*len(x):(i+1)*len(x)]); err != nil {
				return nil, err
			}
			samples = append(samples, x...)
		}
		out["out.samples_"+label] = golden.Floats(samples, shape...)
	}
	return out, nil
}

// guidanceCase combines stored outputs: in.<plan>_<k> is the k-th call's.
func guidanceCase(_ context.Context, _ *inference.Engine, c *golden.Case) (outputs, error) {
	var config struct {
		Calls     map[string][]string
		Scales    map[string]scales
		Timesteps map[string]int64
	}
	if err := c.Config(&config); err != nil {
		return nil, err
	}
	out := outputs{}
	for name, calls := range config.Calls {
		part := strings.Split(strings.Replace(name, "1_7b", "1.7b", 1), "_")
		short := strings.Replace(part[0], ".", "_", 1)
		v, err := variant(short)
		if err != nil {
			return nil, err
		}
		plan, err := sampler.NewPlan(v, inference.Mode(strings.ToUpper(part[1])), config.Scales[short].sampler())
		if err != nil {
			return nil, err
		}
		if err := describes(plan, config.Timesteps[name], calls); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		var results [][]float32
		var shape []int64
		for k := range calls {
			data, s, err := c.Floats(fmt.Sprintf("in.%s_%d", name, k))
			if err != nil {
				return nil, err
			}
			results, shape = append(results, data), s
		}
		sum, err := plan.Combine(config.Timesteps[name], results)
		if err != nil {
			return nil, err
		}
		out["out."+name] = golden.Floats(sum, shape...)
	}
	return out, nil
}

// describes checks that the plan gives each call what the case says the reference gave it.
func describes(p *sampler.Plan, t int64, calls []string) error {
	conditions := p.Conditions(t)
	if len(conditions) != len(calls) {
		return fmt.Errorf("the plan has %d passes, the reference %d", len(conditions), len(calls))
	}
	pick := func(b bool, yes, no string) string {
		if b {
			return yes
		}
		return no
	}
	for i, k := range conditions {
		have := "text:" + pick(k.Text == sampler.Prompt, "prompt", "negative") + " audio:" + pick(k.Audio, "audio", "zero")
		if p.Injection == sampler.InChannels {
			have += " y:" + pick(k.Image, "image", "null")
		} else {
			have += " ref:" + pick(k.Image, "image", "zero")
		}
		if have != calls[i] {
			return fmt.Errorf("pass %d is given %q, in the reference %q", i, have, calls[i])
		}
	}
	return nil
}

type scales struct {
	Text       float64 `json:"scale_t"`
	Audio      float64 `json:"scale_a"`
	Image      float64 `json:"scale_i"`
	StepChange int     `json:"step_change"`
}

func (s scales) sampler() sampler.Scales {
	return sampler.Scales{Text: s.Text, Audio: s.Audio, Image: s.Image, StepChange: s.StepChange}
}

// rotaryCase compares the tables and turns a tensor whose rows beyond the grid pass through.
func rotaryCase(_ context.Context, _ *inference.Engine, c *golden.Case) (outputs, error) {
	var config struct {
		Grid      [3]int64 // in patches
		TableRows []int64  `json:"table_rows"`
	}
	if err := c.Config(&config); err != nil {
		return nil, err
	}
	out := outputs{}
	var cos, sin []float32
	for _, row := range config.TableRows {
		a, b := wan.RotaryRow(row, row, row)
		cos, sin = append(cos, a...), append(sin, b...)
	}
	out["out.table_cos"] = golden.Floats(cos, int64(len(config.TableRows)), wan.HeadDim/2)
	out["out.table_sin"] = golden.Floats(sin, int64(len(config.TableRows)), wan.HeadDim/2)
	x, shape, err := c.Floats("in.x")
	if err != nil {
		return nil, err
	}
	cos, sin = wan.RotaryTables(wan.Grid{Frames: config.Grid[0], Height: 2 * config.Grid[1], Width: 2 * config.Grid[2]})
	heads := int(shape[2])
	y := slices.Clone(x)
	for i := 0; i < len(cos)*heads; i++ { // pair i of the tokens that have a place in the grid
		token, pair := i/(heads*wan.HeadDim/2), i%(wan.HeadDim/2)
		a, b := cos[token*wan.HeadDim/2+pair], sin[token*wan.HeadDim/2+pair]
		y[2*i], y[2*i+1] = x[2*i]*a-x[2*i+1]*b, x[2*i]*b+x[2*i+1]*a
	}
	out["out.y"] = golden.Floats(y, shape...)
	return out, nil
}

// timestepCase compares the sinusoids of timesteps at several widths.
func timestepCase(_ context.Context, _ *inference.Engine, c *golden.Case) (outputs, error) {
	var config struct {
		T    []int64
		Dims []int64
	}
	if err := c.Config(&config); err != nil {
		return nil, err
	}
	out := outputs{}
	for _, dim := range config.Dims {
		var rows []float32
		for _, t := range config.T {
			rows = append(rows, wan.TimestepEmbedding(t, dim)...)
		}
		out[fmt.Sprintf("out.dim%d", dim)] = golden.Floats(rows, int64(len(config.T)), dim)
	}
	return out, nil
}
