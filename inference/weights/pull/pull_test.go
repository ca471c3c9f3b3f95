package pull

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference/weights"
	"github.com/humo-worker/humo-worker/inference/weights/pull/hubtest"
)

// golden holds tiny weights in the published layout; the stand-in of the hub publishes them.
const golden = "../../../testdata/golden/dev/weights"

// scaled are limits for files of that size.
var scaled = limits{
	connections: 8, files: 3, part: 64 << 10, block: 4 << 10, tries: 10, pause: 2 * time.Millisecond, longest: 20 * time.Millisecond,
	patience: 5 * time.Second, silence: 10 * time.Second,
}

// stand starts a hub with the golden weights, which may not see a request that the real one would refuse.
func stand(t *testing.T) (*hubtest.Hub, []weights.File) {
	t.Helper()
	h := hubtest.Start()
	h.Connections = scaled.connections
	rows, err := h.AddFolder(golden)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.Close()
		for _, v := range h.Violations() {
			t.Error(v)
		}
	})
	return h, rows
}

// from are the settings for a hub, with a cache that is empty.
func from(t *testing.T, h *hubtest.Hub) Config {
	return Config{Endpoint: h.URL, Cache: filepath.Join(t.TempDir(), "cache"), limits: scaled}
}

func ignore(Progress) {}

// pulled pulls, which must succeed.
func pulled(t *testing.T, cfg Config, dir string, rows []weights.File) *Summary {
	t.Helper()
	s, err := Pull(t.Context(), cfg, weights.Locate(dir), rows, zerolog.Nop(), ignore)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// files reads everything below a folder, but for the lock and the record.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	if vacant(dir) {
		return found
	}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == lockName || d.Name() == recordName {
			return err
		}
		b, err := os.ReadFile(name)
		rel, _ := filepath.Rel(dir, name)
		found[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// same compares a folder with the golden weights, byte by byte.
func same(t *testing.T, dir string) {
	t.Helper()
	want, got := files(t, golden), files(t, dir)
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s has %d bytes that differ from the %d published ones", name, len(got[name]), len(want[name]))
		}
		delete(got, name)
	}
	for name := range got {
		t.Errorf("%s was left behind", name)
	}
}

func total(t *testing.T) (bytes int64) {
	for _, content := range files(t, golden) {
		bytes += int64(len(content))
	}
	return bytes
}

func TestPull(t *testing.T) {
	h, rows := stand(t)
	dir := t.TempDir()
	var mu sync.Mutex
	phases := map[string][]Phase{}
	s, err := Pull(t.Context(), from(t, h), weights.Locate(dir), rows, zerolog.Nop(), func(p Progress) {
		mu.Lock()
		defer mu.Unlock()
		if p.Bytes < 0 || p.Bytes > p.Total {
			t.Errorf("%+v", p)
		}
		if list := phases[p.Path]; len(list) == 0 || list[len(list)-1] != p.Phase {
			phases[p.Path] = append(list, p.Phase)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, dir)
	if want := (Summary{Files: 16, Bytes: total(t), Fetched: total(t)}); *s != want {
		t.Errorf("%+v, want %+v", *s, want)
	}
	if sent := h.Stats().Sent; sent != total(t) {
		t.Errorf("%d bytes were sent, want %d", sent, total(t))
	}
	if len(phases) != 16 {
		t.Errorf("progress of %d files", len(phases))
	}
	for name, list := range phases {
		if d := cmp.Diff([]Phase{Planned, Fetching, Checking, Done}, list); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	for _, variant := range []string{"1.7B", "17B"} {
		if _, err := weights.Locate(dir).Require(variant); err != nil {
			t.Error(err)
		}
	}

	// Again: nothing is asked for, even.
	before := h.Stats().Requests
	if s := pulled(t, from(t, h), dir, rows); s.Found != 16 || s.Fetched != 0 || h.Stats().Requests != before {
		t.Errorf("again: %+v, %d requests", *s, h.Stats().Requests-before)
	}
}

// TestPartsArriveAtTheSameTime: one large file comes through all connections.
func TestPartsArriveAtTheSameTime(t *testing.T) {
	h, rows := stand(t)
	h.Trouble.Pace = time.Millisecond
	pulled(t, from(t, h), t.TempDir(), rows[:1])
	if n := h.Stats().Connections; n != scaled.connections {
		t.Errorf("%d connections at the most, want %d", n, scaled.connections)
	}
}

func TestOnlyTheVariantsFilesArrive(t *testing.T) {
	h, _ := stand(t)
	rows, err := hubtest.Rows(golden, "1.7B", false)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	pulled(t, from(t, h), dir, rows)
	if _, err := weights.Locate(dir).Require("1.7B"); err != nil {
		t.Error(err)
	}
	if found, _ := filepath.Glob(filepath.Join(dir, "HuMo", "*")); len(found) != 1 {
		t.Errorf("%q", found)
	}
}

// interrupt pulls for a random time.
func interrupt(t *testing.T, cfg Config, dir string, rows []weights.File, rng *rand.Rand) error {
	ctx, cancel := context.WithCancel(t.Context())
	timer := time.AfterFunc(time.Duration(rng.Int64N(int64(60*time.Millisecond))), cancel)
	defer timer.Stop()
	defer cancel()
	_, err := Pull(ctx, cfg, weights.Locate(dir), rows, zerolog.Nop(), ignore)
	return err
}

// TestTrouble: everything goes wrong that can be put right, and 20 times the pull is stopped.
func TestTrouble(t *testing.T) {
	t.Parallel()
	h, rows := stand(t)
	h.Token, h.Connections = "hf_secret", 0 // a server notices late that a client has gone
	h.Trouble.Cut, h.Trouble.Busy, h.Trouble.Broken, h.Trouble.Expire = 0.2, 0.003, 0.05, 3
	h.Trouble.Wrong = []string{"Wan2.1_VAE.pth", "config.json", "HuMo-17B/humo-00002-of-00003.safetensors"}
	h.Trouble.Pace = 3 * time.Millisecond
	cfg, dir, rng := from(t, h), t.TempDir(), rand.New(rand.NewPCG(3, 4))
	cfg.Token = "hf_secret"
	stops := 0
	for range 20 {
		h.NewClient()
		switch err := interrupt(t, cfg, dir, rows, rng); {
		case errors.Is(err, context.Canceled):
			stops++
		case err != nil:
			t.Fatal(err)
		}
	}
	h.NewClient()
	pulled(t, cfg, dir, rows)
	same(t, dir)
	if len(h.Trouble.Wrong) > 0 || stops < 20 {
		t.Errorf("stopped %d times, wrong bytes were not asked for: %q", stops, h.Trouble.Wrong)
	}
	t.Logf("stopped %d times, %d requests, %.2f bytes sent for each that was needed", stops, h.Stats().Requests, float64(h.Stats().Sent)/float64(total(t)))
}

// TestBusy: all connections stay away for as long as one of them is told.
func TestBusy(t *testing.T) {
	t.Parallel()
	h, rows := stand(t)
	h.Trouble.Busy = 0.02
	dir := t.TempDir()
	begin := time.Now()
	pulled(t, from(t, h), dir, rows)
	same(t, dir)
	if spent := time.Since(begin); spent < time.Second {
		t.Errorf("took %s: nobody was told to stay away", spent)
	}
}

// TestTwoPulls: the second waits and finds everything.
func TestTwoPulls(t *testing.T) {
	t.Parallel()
	h, rows := stand(t)
	h.Trouble.Pace = 100 * time.Microsecond
	dir, cfg := t.TempDir(), from(t, h)
	var log bytes.Buffer
	var group sync.WaitGroup
	var results [2]*Summary
	logger := zerolog.New(zerolog.SyncWriter(&log))
	for i := range results {
		group.Go(func() {
			var err error
			if results[i], err = Pull(t.Context(), cfg, weights.Locate(dir), rows, logger, ignore); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	same(t, dir)
	if h.Stats().Sent != total(t) {
		t.Errorf("%d bytes were sent, want %d", h.Stats().Sent, total(t))
	}
	if found := results[0].Found + results[1].Found; found != 16 || strings.Count(log.String(), "waiting until it is done") != 1 {
		t.Errorf("%d files were found, log %s", found, log.String())
	}
}

// TestWaitingEnds: a pull that waits for another one can be stopped.
func TestWaitingEnds(t *testing.T) {
	h, rows := stand(t)
	l := weights.Locate(t.TempDir())
	unlock, err := lock(t.Context(), l, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Pull(ctx, from(t, h), l, rows, zerolog.Nop(), ignore); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// TestPowerCut: blocks that were noted and never reached the disk are fetched again, and nothing else.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	h, rows := stand(t)
	h.Trouble.Pace, h.Connections = time.Millisecond, 0
	dir, cfg := t.TempDir(), from(t, h)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Pull(ctx, cfg, weights.Locate(dir), rows[:1], zerolog.Nop(), func(p Progress) {
		if p.Bytes > p.Total/2 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	name := filepath.Join(dir, rows[0].Path) + incomplete
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 3*scaled.block), 0); err != nil { // three of the first blocks
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	before := h.Stats().Sent
	s := pulled(t, cfg, dir, rows[:1])
	if sent := h.Stats().Sent - before; sent > s.Bytes*6/10 || s.Fetched < s.Bytes/3 {
		t.Errorf("%d of %d bytes were sent, %d written", sent, s.Bytes, s.Fetched)
	}
	got, _ := os.ReadFile(strings.TrimSuffix(name, incomplete))
	want, _ := os.ReadFile(filepath.Join(golden, rows[0].Path))
	if !bytes.Equal(got, want) {
		t.Error("the file differs")
	}
}

// TestSilence: a connection on which nothing moves is given up.
func TestSilence(t *testing.T) {
	t.Parallel()
	h, rows := stand(t)
	h.Trouble.Silence, h.Trouble.Silent = 5*time.Second, 3
	cfg, dir := from(t, h), t.TempDir()
	cfg.limits.silence = 100 * time.Millisecond
	begin := time.Now()
	pulled(t, cfg, dir, rows)
	same(t, dir)
	if spent := time.Since(begin); spent > 4*time.Second {
		t.Errorf("took %s", spent)
	}
}
