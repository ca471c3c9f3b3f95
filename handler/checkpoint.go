package handler

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/storage"
)

func checkpointKey(job string) string { return storage.Segment(job) + "/checkpoint" }

// checkpoints keeps the state of a clip that is being made beside the place of its result, so that another process can go
// on when this one dies.
type checkpoints struct {
	log   zerolog.Logger
	store storage.Store // nil: nothing is kept
	key   string
	path  string // of the file that is being stored

	ctx    context.Context // of the puts; they end with the clip
	cancel context.CancelFunc
	busy   sync.Mutex // held by the put under way
	stored bool       // there may be an object; guarded by busy
}

// carryOn sets the spec to go on where an earlier run of the job was broken off, if one was, and to leave checkpoints. A
// seed that was drawn then is used again: the clip is the same one.
func (r *run) carryOn(ctx context.Context) *checkpoints {
	c := &checkpoints{log: r.log, key: checkpointKey(r.job.ID), path: filepath.Join(r.dir, "checkpoint")}
	if r.config.CheckpointEvery == 0 || r.to.store == nil {
		return c
	}
	c.store = r.to.store
	c.ctx, c.cancel = context.WithCancel(ctx)
	if earlier := c.load(ctx); earlier != nil {
		c.stored = true
		if r.request.drawnSeed {
			r.spec.Seed = earlier.Seed
		}
		r.spec.Resume = earlier
		r.log.Info().Int("step", earlier.Solver.Step).Msg("The job was broken off before: it goes on from its last checkpoint, if it is the same clip.")
	}
	r.spec.SaveEvery, r.spec.Save = r.config.CheckpointEvery, c.save
	return c
}

// load reads what an earlier run left; nil if there is nothing that can be used.
func (c *checkpoints) load(ctx context.Context) *inference.Checkpoint {
	defer os.Remove(c.path) //nolint:errcheck // the job's folder goes with the job
	err := c.store.Download(ctx, c.key, c.path)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(c.path)
	}
	earlier := new(inference.Checkpoint)
	if err == nil {
		err = earlier.UnmarshalBinary(data)
	}
	if err != nil {
		c.log.Warn().Err(err).Msg("A checkpoint of the job cannot be used; it starts from its first step.")
		return nil
	}
	return earlier
}

// save stores a checkpoint beside the denoising, which does not wait: while one is on its way, newer ones are passed over.
func (c *checkpoints) save(state *inference.Checkpoint) {
	if !c.busy.TryLock() {
		return
	}
	go func() {
		defer c.busy.Unlock()
		defer os.Remove(c.path) //nolint:errcheck // a nearly full disk has better use for its room
		data, err := state.MarshalBinary()
		if err == nil {
			err = os.WriteFile(c.path, data, 0o600)
		}
		if err == nil {
			c.stored = true
			_, err = c.store.Put(c.ctx, c.key, c.path, "application/octet-stream")
		}
		if err != nil && c.ctx.Err() == nil {
			c.log.Warn().Err(err).Msg("A checkpoint could not be stored; the job goes on without it.")
		}
	}()
}

// removalTime bounds how long a finished job waits for its checkpoint to be removed.
const removalTime = 10 * time.Second

// ErrAbandoned is the cause of a context that ended because nobody wants the job's clip any more.
var ErrAbandoned = errors.New("the job was given up")

// end removes the checkpoint of a clip that is done, that failed in a way that no retry cures, or that nobody wants. What was
// interrupted keeps it: somebody may go on.
func (c *checkpoints) end(ctx context.Context, err error) {
	if c.store == nil {
		return
	}
	c.cancel()
	c.busy.Lock() // the put under way has ended
	defer c.busy.Unlock()
	problem, known := errors.AsType[*fault.Error](err)
	final := err == nil || ctx.Err() == nil && known && !problem.Retryable || errors.Is(context.Cause(ctx), ErrAbandoned)
	if !c.stored || !final {
		return
	}
	c.remove(ctx)
}

// forget removes the checkpoint of a job that is answered from its manifest: its worker may have ended between the two.
func (r *run) forget(ctx context.Context) {
	if r.config.CheckpointEvery > 0 && r.to.store != nil {
		(&checkpoints{log: r.log, store: r.to.store, key: checkpointKey(r.job.ID)}).remove(ctx)
	}
}

func (c *checkpoints) remove(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removalTime)
	defer cancel()
	if err := c.store.Delete(ctx, c.key); err != nil {
		c.log.Warn().Err(err).Msg("The checkpoint of a finished job could not be removed.")
	}
}
