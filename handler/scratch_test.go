package handler

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

func TestScratchSweep(t *testing.T) {
	parent := t.TempDir()
	alive, err := OpenScratch(parent)
	if err != nil {
		t.Fatal(err)
	}
	dir, remove, err := alive.Job()
	if err != nil {
		t.Fatal(err)
	}
	plant(t, filepath.Join(dir, "audio"), []byte("x"))
	for _, dead := range []string{"process-DEAD", "process-NOLOCK"} {
		if err := os.MkdirAll(filepath.Join(parent, dead, "job-1"), 0o700); err != nil {
			t.Fatal(err)
		}
		plant(t, filepath.Join(parent, dead, "job-1", "audio"), []byte("x"))
	}
	plant(t, filepath.Join(parent, "process-DEAD", scratchLock), nil)
	plant(t, filepath.Join(parent, "other"), nil)
	plant(t, filepath.Join(parent, "process-file"), nil)

	second, err := OpenScratch(parent)
	if err != nil {
		t.Fatal(err)
	}
	if n := entries(t, parent); n != 4 { // two live ones and two strangers
		t.Errorf("%d entries after the sweep, want 4", n)
	}
	if _, err := os.Stat(filepath.Join(dir, "audio")); err != nil {
		t.Errorf("the sweep took a live process's file: %v", err)
	}
	remove()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the job's folder is still there: %v", err)
	}
	for _, s := range []*Scratch{alive, second} {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := entries(t, parent); n != 2 {
		t.Errorf("%d entries after Close, want the 2 strangers", n)
	}
}

// TestScratchRace: many starts and ends at once; nobody loses a folder that is in use.
func TestScratchRace(t *testing.T) {
	parent := t.TempDir()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 40 {
				s, err := OpenScratch(parent)
				if err != nil {
					t.Error(err)
					return
				}
				dir, remove, err := s.Job()
				if err != nil {
					t.Error(err)
					return
				}
				if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o600); err != nil {
					t.Error(err)
				}
				remove()
				s.Close() //nolint:errcheck // a sweeper may be removing the same folder
			}
		})
	}
	group.Wait()
	s, err := OpenScratch(parent)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if n := entries(t, parent); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

// TestScratchKilled: the next start removes what a killed process left.
func TestScratchKilled(t *testing.T) {
	if parent := os.Getenv("SCRATCH_TEST_PARENT"); parent != "" {
		s, err := OpenScratch(parent)
		if err != nil {
			t.Fatal(err)
		}
		dir, _, err := s.Job()
		if err != nil {
			t.Fatal(err)
		}
		plant(t, filepath.Join(dir, "audio"), []byte("x"))
		time.Sleep(time.Minute) // until it is killed
	}
	parent := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestScratchKilled$")
	cmd.Env = append(os.Environ(), "SCRATCH_TEST_PARENT="+parent)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(parent, "process-*", "job-*", "audio")
	for deadline := time.Now().Add(10 * time.Second); len(glob(t, left)) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the child wrote nothing in 10 s")
		}
	}
	cmd.Process.Kill() //nolint:errcheck // Wait reports what happened
	cmd.Wait()         //nolint:errcheck // it was killed
	if len(glob(t, left)) != 1 {
		t.Fatal("the killed process left nothing: the test proves nothing")
	}
	s, err := OpenScratch(parent)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // in the test's own folder
	if got := glob(t, left); len(got) != 0 {
		t.Errorf("still there after the next start: %q", got)
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func entries(t *testing.T, dir string) int {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
