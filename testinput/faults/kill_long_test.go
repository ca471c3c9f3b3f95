//go:build long

package faults_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/humo-worker/humo-worker/handler/runpod/runpodtest"
)

// TestKilledAtEveryStage kills the worker at a known point of a job. The queue gives the job out again, and the next worker
// ends it: one result is accepted, the same video comes out wherever the kill was, and nothing is left.
func TestKilledAtEveryStage(t *testing.T) {
	var mu sync.Mutex
	var first []byte // video
	for _, row := range []struct {
		name string
		stop func(w *world, m *moment)
	}{
		{"given out, not yet heard of", func(w *world, m *moment) {
			w.queue.Script(runpodtest.Take, runpodtest.Reply{After: true, Delay: time.Hour})
			go func() {
				w.until("the take", func() bool { return w.queue.Fate("job").Given == 1 })
				m.here()
			}()
		}},
		{"an input on its way", nil}, // the source itself
		{"an input read", func(w *world, m *moment) {
			w.replace("ffmpeg", onlyDecode+hangs)
			go w.whenRuns("sleep 600", m)
		}},
		{"looking for an earlier result", stall(http.MethodGet, "/manifest.json")},
		{"stage text", progress("text", 0)},
		{"stage audio", progress("audio", 0)},
		{"stage image", progress("image", 0)},
		{"stage denoise, first pass", progress("denoise", 1)},
		{"stage denoise, in the middle", progress("denoise", 12)},
		{"a checkpoint on its way", stall(http.MethodPut, "/checkpoint")},
		{"a checkpoint stored", stall(http.MethodHead, "/checkpoint")},
		{"stage decode", progress("decode", 0)},
		{"stage encode", func(w *world, m *moment) {
			w.replace("ffmpeg", onlyEncode+swallow+hangs)
			go w.whenRuns("sleep 600", m)
		}},
		{"the video on its way", stall(http.MethodPut, "/video.mp4")},
		{"the video stored", stall(http.MethodHead, "/video.mp4")},
		{"the manifest on its way", stall(http.MethodPut, "/manifest.json")},
		{"the manifest stored", stall(http.MethodHead, "/manifest.json")},
		{"its checkpoint being removed", stall(http.MethodDelete, "/checkpoint")},
		{"the result on its way", func(w *world, m *moment) {
			w.queue.Script(runpodtest.Final, runpodtest.Reply{Delay: time.Hour, Status: http.StatusServiceUnavailable})
			go w.whenPosted(m)
		}},
		{"the result accepted, the worker not told", func(w *world, m *moment) {
			w.queue.Script(runpodtest.Final, runpodtest.Reply{After: true, Delay: time.Hour})
			go w.whenPosted(m)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "WORKER_PROGRESS_MIN_INTERVAL=0s", "HUMO_CHECKPOINT_EVERY=2", "RUNPOD_ALLOW_PRIVATE_DOWNLOAD_URLS=true")
			input := startSource(t, w.path("inputs", "voice.wav"))
			m := newMoment()
			if row.stop == nil {
				input.stall.Store(m)
			} else {
				row.stop(w, m)
			}
			w.give("job", `"audio": "`+input.url+`", "images": ["volume:person.png"], "steps": 8`)
			w.start()
			select {
			case <-m.reached:
			case <-time.After(patience):
				t.Fatal("the worker never came there")
			}
			w.kill()
			close(m.over)
			w.until("its programs to end", func() bool { return len(w.processes()) == 0 })

			input.stall.Store(nil)
			w.network.Inject(nil)
			os.Remove(w.path("bin", "ffmpeg")) //nolint:errcheck // most have none
			if w.queue.Result("job") == "" {
				w.queue.Again("job")
			}
			w.restart()
			a := w.ends("job", "ok")
			if a.Error != "" {
				return
			}
			video := w.video(a)
			mu.Lock()
			if first == nil {
				first = video
			}
			if !bytes.Equal(first, video) {
				t.Error("the video is not that of the other rows")
			}
			mu.Unlock()
			if fate := w.queue.Fate("job"); fate.Duplicate > 1 {
				t.Errorf("%d further results after the accepted one", fate.Duplicate)
			}
			w.end()
		})
	}
}

// stall holds the first request to the bucket of a kind.
func stall(method, suffix string) func(*world, *moment) {
	return func(w *world, m *moment) {
		w.network.Inject(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method != method || !strings.HasSuffix(r.URL.Path, suffix) {
				return false
			}
			m.hold()
			panic(http.ErrAbortHandler)
		})
	}
}

// progress is the first progress post of a stage that tells of so many steps, or of more: between two posts of the worker
// there may be several.
func progress(stage string, step int) func(*world, *moment) {
	return func(w *world, m *moment) {
		w.queue.Decide = func(r runpodtest.Request) *runpodtest.Reply {
			var post struct {
				Output struct {
					Stage string
					Step  int
				}
			}
			if r.Kind == runpodtest.Progress && json.Unmarshal(r.Body, &post) == nil && post.Output.Stage == stage && post.Output.Step >= step {
				m.here()
			}
			return nil
		}
	}
}

// whenRuns is at the moment when the worker runs a program with such arguments.
func (w *world) whenRuns(arguments string, m *moment) {
	w.until(arguments, func() bool {
		for _, process := range w.processes() {
			if _, rest, _ := strings.Cut(process, " "); strings.HasPrefix(rest, arguments) {
				return true
			}
		}
		return false
	})
	m.here()
}

// whenPosted is at the moment when the worker posts its result.
func (w *world) whenPosted(m *moment) {
	w.until("the post", func() bool { return len(w.queue.Requests(runpodtest.Final)) > 0 })
	m.here()
}
