package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
)

// stage is a testing.TB for the surroundings of a run, which are made for tests and end with them.
type stage struct {
	testing.TB // what is not below is not called
	ctx        context.Context
	dir        string

	mu       sync.Mutex
	folders  int
	cleanups []func()
	problems []error
}

// failed is what Fatal panics with.
type failed struct{ error }

// onStage runs f in a folder that is gone afterwards. It returns what f and its surroundings complained about.
func onStage(ctx context.Context, f func(testing.TB) error) (err error) {
	dir, err := os.MkdirTemp("", "soak-*")
	if err != nil {
		return err
	}
	s := &stage{ctx: ctx, dir: dir}
	defer func() {
		for i := len(s.cleanups) - 1; i >= 0; i-- {
			s.cleanups[i]()
		}
		err = errors.Join(append([]error{err}, append(s.problems, os.RemoveAll(dir))...)...)
	}()
	defer func() {
		if p := recover(); p != nil {
			stop, ok := p.(failed)
			if !ok {
				panic(p)
			}
			err = stop.error
		}
	}()
	return f(s)
}

func (s *stage) Helper()                  {}
func (s *stage) Context() context.Context { return s.ctx }

func (s *stage) Cleanup(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanups = append(s.cleanups, f)
}

func (s *stage) TempDir() string {
	s.mu.Lock()
	s.folders++
	dir := filepath.Join(s.dir, strconv.Itoa(s.folders))
	s.mu.Unlock()
	if err := os.Mkdir(dir, 0o700); err != nil {
		s.Fatal(err)
	}
	return dir
}

func (s *stage) Errorf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problems = append(s.problems, fmt.Errorf(format, args...))
}

func (s *stage) Fatal(args ...any)                 { panic(failed{errors.New(fmt.Sprint(args...))}) }
func (s *stage) Fatalf(format string, args ...any) { panic(failed{fmt.Errorf(format, args...)}) }
