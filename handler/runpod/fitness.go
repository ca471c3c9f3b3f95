package runpod

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// Check is something without which the worker is better not started.
type Check struct {
	Name string // a word or two, shown in RunPod's console
	Run  func(context.Context) error
}

// FitnessConfig is for SystemChecks. The names and defaults are those of RunPod's own worker.
type FitnessConfig struct {
	MinMemoryGB      float64 `env:"RUNPOD_MIN_MEMORY_GB" envDefault:"4"`
	MinDiskPercent   float64 `env:"RUNPOD_MIN_DISK_PERCENT" envDefault:"10"`
	MinCUDA          string  `env:"RUNPOD_MIN_CUDA_VERSION" envDefault:"11.8"`
	NetworkTimeout   float64 `env:"RUNPOD_NETWORK_CHECK_TIMEOUT" envDefault:"5"` // seconds
	GPUTestTimeout   float64 `env:"RUNPOD_GPU_TEST_TIMEOUT" envDefault:"30"`     // seconds
	GPUTestPath      string  `env:"RUNPOD_BINARY_GPU_TEST_PATH"`
	GPUMaxErrorLines int     `env:"RUNPOD_GPU_MAX_ERROR_MESSAGES" envDefault:"10"`

	SkipSystem bool `env:"RUNPOD_SKIP_AUTO_SYSTEM_CHECKS"`
	SkipGPU    bool `env:"RUNPOD_SKIP_GPU_CHECK"`
}

func (c FitnessConfig) validate() error {
	var problems []error
	for name, v := range map[string]float64{"RUNPOD_MIN_MEMORY_GB": c.MinMemoryGB, "RUNPOD_MIN_DISK_PERCENT": c.MinDiskPercent,
		"RUNPOD_NETWORK_CHECK_TIMEOUT": c.NetworkTimeout, "RUNPOD_GPU_TEST_TIMEOUT": c.GPUTestTimeout} {
		if !(v >= 0) {
			problems = append(problems, fmt.Errorf("%s is %v; it must not be negative", name, v))
		}
	}
	if _, err := parseVersion(c.MinCUDA); err != nil {
		problems = append(problems, fmt.Errorf("RUNPOD_MIN_CUDA_VERSION is %.40q; write it like 12.4", c.MinCUDA))
	}
	return errors.Join(problems...)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// fitness runs the checks. The one that fails is reported, for a moment only: a worker that cannot work must not wait.
func (s *session) fitness(ctx context.Context, checks []Check) error {
	began := time.Now()
	for _, check := range checks {
		err := runCheck(ctx, check)
		if err == nil || ctx.Err() != nil { // what a shutdown does to a check says nothing about the worker
			continue
		}
		kind := fmt.Sprintf("%T", err)
		if p, ok := errors.AsType[*panicked](err); ok {
			kind = "panic"
			s.log.Debug().Msg(string(p.stack))
		}
		reason := s.redact.Text(kind + ": " + err.Error())
		s.log.Error().Msgf("Fitness check failed: %s | %s", check.Name, reason)
		s.reportUnhealthy(check.Name, reason)
		s.log.Error().Msg("Worker is unhealthy, exiting.")
		return fmt.Errorf("the fitness check %s failed: %w", check.Name, err)
	}
	if len(checks) > 0 {
		s.log.Info().Msgf("All fitness checks passed. (%dms)", time.Since(began).Milliseconds())
	}
	return nil
}

func runCheck(ctx context.Context, check Check) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = caught(v)
		}
	}()
	return check.Run(ctx)
}

func (s *session) reportUnhealthy(check, reason string) {
	if s.to.ping == "" || s.c.APIKey == "" {
		return
	}
	if runes := []rune(reason); len(runes) > 256 {
		reason = string(runes[:256])
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.t.Unhealthy)
	defer cancel()
	s.api.beat(ctx, withQuery(s.to.ping, "status=unhealthy", "check="+url.QueryEscape(check),
		"reason="+url.QueryEscape(reason), "runpod_version="+url.QueryEscape(s.version)))
}
