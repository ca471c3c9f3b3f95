//go:build long

package faults_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/humo-worker/humo-worker/handler/runpod/runpodtest"
)

// TestClockJumps moves the worker's wall clock while it does a job. The program is built with a time package whose wall
// clock has an offset in a file; its monotonic clock goes on, as on a machine whose clock is set.
func TestClockJumps(t *testing.T) {
	movable := buildMovable(t)
	for _, row := range []struct {
		name  string
		jumps time.Duration
	}{
		{"an hour ahead", time.Hour}, {"an hour back", -time.Hour}, {"ten years back", -10 * 365 * 24 * time.Hour},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "WORKER_PROGRESS_MIN_INTERVAL=0s", "HUMO_CHECKPOINT_EVERY=2")
			clock := w.path("clock")
			move := func(by time.Duration) {
				f, err := os.OpenFile(clock, os.O_WRONLY|os.O_CREATE, 0o600) // it is mapped: no moment without its bytes
				must(t, err)
				_, err = f.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(int64(by.Seconds()))), 0)
				must(t, errors.Join(err, f.Close()))
			}
			move(0)
			w.program, w.env = movable, append(w.env, "FAULTS_CLOCK="+clock)
			m := newMoment()
			progress("denoise", 2)(w, m)
			w.queue.GiveRaw(`{"id": "moved", "input": ` + job(`"steps": 40, "width": 64, "height": 64`) + `, "policy": {"executionTimeout": 1200000}}`)
			w.start()
			<-m.reached
			move(row.jumps)
			pings, at := len(w.queue.Requests(runpodtest.Ping)), time.Now()
			a := w.ends("moved", "ok")
			w.link(a)
			w.works("after") // the whole job on the moved clock
			w.link(w.await("after"))
			time.Sleep(2 * time.Second)
			// A ping a second: a clock that jumps brings neither a burst nor a gap.
			if n, want := len(w.queue.Requests(runpodtest.Ping))-pings, int(time.Since(at).Seconds()); n < want/3 || n > 2*want+3 {
				t.Errorf("%d pings in %d s after the jump", n, want)
			}

			// What was done is not done again after a restart, whatever the clock shows then: it is remembered, or, when that
			// seems to be long ago, answered from its manifest.
			w.kill()
			move(0)
			rendered := denoising(w, "after")
			posts := len(w.queue.Of(runpodtest.Final, "after"))
			w.queue.Expect("the job after") // it is given out although it is finished, so anything that is said of it is too much
			w.restart()
			w.queue.Again("after")
			w.until("the result again", func() bool { return len(w.queue.Of(runpodtest.Final, "after")) > posts })
			if denoising(w, "after") != rendered {
				t.Error("the job was done again")
			}
			w.works("last")
			w.link(w.await("last"))
			w.end()
		})
	}
}

// denoising counts the progress posts of a job's main stage.
func denoising(w *world, id string) (n int) {
	for _, r := range w.queue.Of(runpodtest.Progress, id) {
		if bytes.Contains(r.Body, []byte(`"denoise"`)) {
			n++
		}
	}
	return n
}

// link checks that the link to a result ends in a week by the bucket's clock. That it works now, video has shown.
func (w *world) link(a answer) {
	w.t.Helper()
	if a.Error != "" {
		return
	}
	w.video(a)
	if left := time.Until(a.Output.ExpiresAt); left < 7*24*time.Hour-10*time.Minute || left > 7*24*time.Hour+time.Minute {
		w.t.Errorf("the link ends in %s", left)
	}
}

// buildMovable builds the program with a wall clock that can be moved.
func buildMovable(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	must(t, err)
	folder, dir := filepath.Join(strings.TrimSpace(string(out)), "src", "time"), t.TempDir()
	text, err := os.ReadFile(filepath.Join(folder, "time.go"))
	must(t, err)
	const now, read, moved = "func Now() Time {\n", "sec, nsec, mono := runtimeNow()", "sec, nsec, mono := movedNow()"
	before, after, found := strings.Cut(string(text), now)
	if !found || strings.Count(after[:200], read) != 1 {
		t.Fatal("this Go reads the clock in another way: adapt the test")
	}
	replace := map[string]string{
		filepath.Join(folder, "time.go"):  before + now + strings.Replace(after, read, moved, 1),
		filepath.Join(folder, "moved.go"): movedClock,
	}
	for path, text := range replace {
		copied := filepath.Join(dir, filepath.Base(path))
		must(t, os.WriteFile(copied, []byte(text), 0o600))
		replace[path] = copied
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))
	movable := filepath.Join(dir, "humo-worker")
	must(t, build(movable, "-overlay", filepath.Join(dir, "overlay.json")))
	return movable
}

// movedClock is a further file of the time package.
const movedClock = `package time

import "syscall"

// moved is how many seconds the wall clock is off: 8 bytes of the file that FAULTS_CLOCK names.
var moved = mapMoved()

func mapMoved() *[8]byte {
	path, _ := syscall.Getenv("FAULTS_CLOCK")
	if path == "" {
		return new([8]byte)
	}
	fd, err := syscall.Open(path, syscall.O_RDONLY, 0)
	if err != nil {
		panic("FAULTS_CLOCK: " + err.Error())
	}
	defer syscall.Close(fd)
	data, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("FAULTS_CLOCK: " + err.Error())
	}
	return (*[8]byte)(data)
}

func movedNow() (sec int64, nsec int32, mono int64) {
	sec, nsec, mono = runtimeNow()
	off := uint64(0)
	for i, b := range moved {
		off |= uint64(b) << (8 * i)
	}
	return sec + int64(off), nsec, mono
}
`
