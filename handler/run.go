package handler

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/storage"
)

// run is a job that has been read.
type run struct {
	*Handler
	log      zerolog.Logger
	job      Job
	request  *Request
	to       *destination
	spec     inference.Spec
	dir      string
	reporter Reporter
	times    times
}

// again answers a job from the manifest of its first delivery when its sources cannot be had any more. It is nil if
// this is not such a job.
func (r *run) again(ctx context.Context) (*Result, error) {
	if r.request.DryRun {
		return nil, nil
	}
	earlier, _ := r.to.delivered(ctx, r.log, r.job.ID) // that its sources are gone is the better answer
	if earlier == nil || earlier.RequestSHA256 != r.request.requestHash() {
		return nil, nil
	}
	return r.answer(ctx, earlier)
}

func (r *run) answer(ctx context.Context, earlier *Manifest) (*Result, error) {
	result, err := earlier.answer(ctx, r.to, r.job.ID)
	switch {
	case err != nil:
		return nil, explain(ctx, r.log, err)
	case result == nil:
		r.log.Warn().Msg("The job was done before, but its video is gone.")
		return nil, nil
	}
	r.forget(ctx)
	r.log.Info().Msg("The job was done before: it is answered from its manifest, nothing is rendered.")
	return result, nil
}

// do answers a valid job: with an estimate, from the manifest, or with a new clip.
func (r *run) do(ctx context.Context) (*Result, error) {
	s := r.spec
	r.log.Info().Str("mode", string(s.Mode)).Str("variant", string(s.Variant)).
		Int("width", s.Width).Int("height", s.Height).Int("frames", s.Frames).Int("fps", s.FPS).
		Int("steps", s.Steps).Float64("shift", s.Shift).Uint64("seed", s.Seed).Msg("The job is valid.")
	if r.request.DryRun {
		e, err := r.estimate(ctx)
		if err != nil {
			return nil, explain(ctx, r.log, err)
		}
		return dryResult(s, e), nil
	}
	sources, err := hashSources(s)
	if err != nil {
		return nil, explain(ctx, r.log, err)
	}
	earlier, err := r.to.delivered(ctx, r.log, r.job.ID)
	if err != nil {
		return nil, explain(ctx, r.log, err)
	}
	if earlier != nil && earlier.InputSHA256 == r.request.inputHash(sources) {
		if result, err := r.answer(ctx, earlier); result != nil || err != nil {
			return result, err
		}
		earlier = nil
	}
	if err := r.inTime(ctx); err != nil {
		return nil, explain(ctx, r.log, err)
	}
	result, err := r.render(ctx, sources, earlier != nil)
	if err != nil {
		return nil, explain(ctx, r.log, err)
	}
	return result, nil
}

// render makes the clip and delivers it.
func (r *run) render(ctx context.Context, sources gathered, replaces bool) (result *Result, err error) {
	if p, ok := r.reporter.(Previewer); ok {
		r.spec.PreviewEvery, r.spec.Preview = r.request.Preview, p.Preview
	}
	r.times.fetched = time.Now()
	c := r.carryOn(ctx)
	defer func() { c.end(ctx, err) }()
	clip, err := r.engine.Generate(ctx, r.spec, r.reporter.Progress)
	if err != nil {
		return nil, err
	}
	r.times.made = time.Now()
	return r.deliver(ctx, clip, sources, replaces)
}

// estimate falls back on the published sizes, without a time, where the engine cannot be opened: whether a job is
// valid does not depend on that.
func (r *run) estimate(ctx context.Context) (inference.Estimate, error) {
	e, err := r.engine.Estimate(ctx, r.spec)
	if err == nil || ctx.Err() != nil || aboutLoRAs(err) {
		return e, err
	}
	r.log.Warn().Err(err).Msg("The speed of this machine cannot be measured.")
	cost, err := inference.CostOf(r.spec, inference.PublishedShape(r.spec.Variant))
	return inference.Estimate{Cost: cost}, err
}

// aboutLoRAs tells an error of the job, a LoRA that is not there, from one of the machine.
func aboutLoRAs(err error) bool { return strings.HasPrefix(fault.CodeOf(err), "lora_") }

// inTime refuses a job that would be killed before it is done.
func (r *run) inTime(ctx context.Context) error {
	if r.job.Timeout <= 0 {
		return nil
	}
	e, err := r.estimate(ctx)
	if err != nil {
		return err
	}
	if needed := time.Duration(e.Seconds * float64(time.Second)); needed > r.job.Timeout {
		about := "about"
		if r.spec.Quality == inference.Balanced {
			about = "up to"
		}
		return fault.New(CodeTooLong, "executionTimeout", "the clip would take %s %s on this machine (%d passes x %d steps of %d tokens, %.4g TFLOP) "+
			"and the job may take %s; raise the endpoint's execution timeout (executionTimeout, or the job's policy.executionTimeout), or ask for fewer frames, steps or pixels",
			about, needed.Round(time.Second), e.Passes, e.Steps, e.Tokens, e.FLOP/1e12, r.job.Timeout)
	}
	return nil
}

// deliver stores the clip, and after it its manifest.
func (r *run) deliver(ctx context.Context, clip *inference.Clip, sources gathered, replaces bool) (*Result, error) {
	id, err := r.engine.Identify(ctx, r.spec.Variant)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		r.log.Warn().Err(err).Msg("The manifest will not say which weights made the clip.")
	}
	m := r.describe(r.job, r.request, r.spec, sources, clip, id)
	if m.Video, err = hashFile(clip.Path); err != nil {
		return nil, err
	}
	if replaces {
		r.log.Warn().Msg("Another clip was stored under this job's id. It is replaced.")
		if err := r.revoke(ctx); err != nil {
			return nil, err
		}
	}
	video, err := r.to.putVideo(ctx, videoKey(r.job.ID), clip.Path)
	if err != nil {
		return nil, err
	}
	m.Time = r.times.until(time.Now(), clip)
	result := newResult(r.spec, clip)
	result.Replaced, result.Key = replaces, video.Key
	m.Result = result
	if r.to.store == nil {
		r.log.Info().Msg("There is no bucket for a manifest; the same job again would be rendered again.")
		result.link(video, storage.Object{})
		return result, nil
	}
	manifest, err := m.put(ctx, r.to, r.job.ID, r.dir)
	if err != nil {
		return nil, err
	}
	result.link(video, manifest)
	return result, nil
}

// revoke makes the manifest of another clip void, before that clip is overwritten: were the worker to end in between, the
// old manifest would vouch for the new video.
func (r *run) revoke(ctx context.Context) error {
	path := filepath.Join(r.dir, "void.json")
	if err := os.WriteFile(path, []byte("{}\n"), 0o600); err != nil {
		return err
	}
	_, err := r.to.store.Put(ctx, manifestKey(r.job.ID), path, "application/json")
	return err
}
