package cli

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/handler"
	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/media"
	"github.com/humo-worker/humo-worker/inference/sandbox"
)

// start reads the settings and opens the log. level wins over the environment's unless it is empty.
func (a *App) start(out io.Writer, level string) (Settings, zerolog.Logger, error) {
	settings, err := a.settings()
	if level != "" {
		settings.Log.Level = level
	}
	severity, known := settings.Log.level()
	log := newLogger(out, severity)
	if !known {
		log.Warn().Msg("The log level is none of ERROR, WARN, INFO, DEBUG, TRACE and NOTSET; INFO is used.")
	}
	return settings, log, err
}

// open opens the rooms that a job passes through. Opening the store and the folder for temporary files removes what
// killed processes left there.
func (a *App) open(settings Settings, log zerolog.Logger) (jobs *handler.Handler, shut func(), err error) {
	engine := &lateEngine{open: func() (Engine, error) { return a.Rooms.OpenEngine(settings, log) }}
	return a.openWith(settings, engine, log)
}

// openWith is open with an engine that the caller made, which shut closes.
func (a *App) openWith(settings Settings, engine *lateEngine, log zerolog.Logger) (jobs *handler.Handler, shut func(), err error) {
	if err := settings.validate(); err != nil {
		return nil, nil, err
	}
	store, err := openStore(settings)
	if err != nil {
		return nil, nil, err
	}
	return a.openOn(settings, engine, store, log)
}

// openOn is openWith on a store that the caller opened, which shut closes, too.
func (a *App) openOn(settings Settings, engine *lateEngine, store store, log zerolog.Logger) (jobs *handler.Handler, shut func(), err error) {
	media.Use(settings.Media)
	for _, gap := range sandbox.Gaps() {
		log.Warn().Msg(gap)
	}
	scratch, err := handler.OpenScratch(settings.Jobs.TmpDir())
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	shut = func() {
		if err := errors.Join(engine.Close(), scratch.Close(), store.Close()); err != nil {
			log.Warn().Err(err).Msg("Something could not be closed.")
		}
	}
	if jobs, err = handler.New(settings.Jobs, engine, store, scratch, log); err != nil {
		shut()
		return nil, nil, err
	}
	return jobs, shut, nil
}

// lateEngine opens the engine when the first clip is made, so that a job that is wrong is refused before any library
// or weight is looked at.
type lateEngine struct {
	open func() (Engine, error)

	mu     sync.Mutex
	engine Engine
}

func (l *lateEngine) Generate(ctx context.Context, spec inference.Spec, observe func(inference.Progress)) (*inference.Clip, error) {
	engine, err := l.get()
	if err != nil {
		return nil, err
	}
	return engine.Generate(ctx, spec, observe)
}

func (l *lateEngine) Estimate(ctx context.Context, spec inference.Spec) (inference.Estimate, error) {
	engine, err := l.get()
	if err != nil {
		return inference.Estimate{}, err
	}
	return engine.Estimate(ctx, spec)
}

func (l *lateEngine) Identify(ctx context.Context, v inference.Variant) (*inference.Identity, error) {
	engine, err := l.get()
	if err != nil {
		return nil, err
	}
	return engine.Identify(ctx, v)
}

// Prepare opens the engine and the networks of a variant.
func (l *lateEngine) Prepare(ctx context.Context, v inference.Variant) error {
	engine, err := l.get()
	if err != nil {
		return err
	}
	return engine.Prepare(ctx, v)
}

// machine is what computes, if the engine is open: nothing is opened for the question. It may wait for an opening.
func (l *lateEngine) machine() (m inference.Machine, open bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.engine == nil {
		return m, false
	}
	return l.engine.Machine(), true
}

func (l *lateEngine) get() (Engine, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.engine == nil {
		engine, err := l.open()
		if err != nil {
			return nil, err
		}
		l.engine = engine
	}
	return l.engine, nil
}

func (l *lateEngine) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.engine == nil {
		return nil
	}
	return l.engine.Close()
}
