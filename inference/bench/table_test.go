package bench

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/fault"
)

// measured is what an entry may give: ours takes so many seconds, PyTorch 10.
func measured(seconds, share float64) *Report {
	return &Report{Network: DiT, Size: "a size", Tokens: 100, Machine: inference.Machine{CPU: "a processor", Cores: 2}, Blocks: 2, AllBlocks: 30,
		Results: []Result{{Name: "DiT pass", Seconds: Spread{seconds, seconds, seconds * 1.1, 2}, Products: Spread{1, 1, 1.2, 2}, Share: share,
			PeakBytes: 3e9, PeakOwnBytes: 1e9,
			Torch: &Compared{Version: "9.9", Seconds: Spread{10, 10, 10, 1}, Ratio: 10 / seconds, PeakBytes: 5e9, LibraryBytes: 1e9}}}}
}

func TestTable(t *testing.T) {
	dir := t.TempDir()
	page := filepath.Join(dir, "performance.md")
	if err := os.WriteFile(page, []byte("before\n"+tableBegin+"old\n"+tableEnd+"after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens := 50
	table, err := MeasureTable(t.Context(), Entries(false), func(_ context.Context, e Entry) (*Report, error) {
		r := measured(5, 0.9)
		if e.Growth {
			tokens *= 2
			r.Tokens, r.Results[0].PeakBytes = tokens, int64(tokens)*1e6
		}
		if e.Parts {
			r.Results = append(r.Results, Result{Name: "self-attention", PartOfPass: 0.25, Share: 0.5}, Result{Name: "everything else", PartOfPass: 0.75})
		}
		return r, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // what was written is replaced
		if err := table.Save(dir); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(page)
	text := string(data)
	if err != nil || !strings.HasPrefix(text, "before\n"+tableBegin) || !strings.HasSuffix(text, tableEnd+"after\n") || strings.Contains(text, "old") {
		t.Errorf("%v\n%s", err, text)
	}
	for _, want := range []string{
		"on a processor", "PyTorch 9.9",
		"| text encoder | a size; 2 of 30 blocks | 5.00 s | 10.0 s | **0.50** | 90 % | 3.0 GB (1.0 GB) | 4.0 GB | **0.75** |",
		"= 2 latent frames; 4.00 s for one of 4 pictures",
		"≤ 1.00 time of PyTorch's | 0.50 | met |", "≥ 0.88 of the GEMM ceiling | 0.90 | met |", "≤ 0.50 peak memory of PyTorch's | 0.75 | missed |",
		"| self-attention | 25 % | 50 % |",
		"| 800 (8×) | 5.00 s | 10.0 s | 800.0 MB | 4.0 GB | 1000 kB |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	again, err := ReadTable(filepath.Join(dir, TableData))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(table, again); d != "" {
		t.Error(d)
	}

	if err := os.WriteFile(page, []byte("no place"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := table.Save(dir); fault.CodeOf(err) != "no_place" {
		t.Error(err)
	}
	// One that fails is left out and named; a run that is stopped ends.
	ctx, cancel := context.WithCancel(t.Context())
	fails := func(_ context.Context, e Entry) (*Report, error) {
		if e.Network == Text {
			return nil, os.ErrPermission
		}
		return measured(5, 0.9), nil
	}
	table, err = MeasureTable(ctx, Entries(true), fails)
	if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "text encoder, 32x32x1") || len(table.Rows) != len(Entries(true))-1 {
		t.Errorf("%v, %d rows", err, len(table.Rows))
	}
	cancel()
	if table, err := MeasureTable(ctx, Entries(true), fails); table != nil || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestNoTable(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"broken": "{", "empty row": `{"rows":[{"name":"x"}]}`} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadTable(file); fault.CodeOf(err) != "no_table" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadTable(filepath.Join(dir, "absent")); fault.CodeOf(err) != "no_table" {
		t.Error(err)
	}
}

// A check compares ratios, measures again before it complains, and only what was measured both times counts.
func TestCheck(t *testing.T) {
	stored := &Table{Machine: inference.Machine{CPU: "a processor"}, Rows: []Row{
		{Entry{Name: "DiT pass", Network: DiT, Guard: true}, measured(5, 0.9)},
		{Entry{Name: "long", Network: DiT}, measured(1, 1)},
	}}
	alone := func(seconds, share float64) *Report {
		r := measured(seconds, share)
		r.Results[0].Torch = nil
		return r
	}
	large := measured(5, 0.9)
	large.Results[0].PeakBytes *= 2
	elsewhere := measured(7, 0.9)
	elsewhere.Machine.CPU = "another processor"
	for _, c := range []struct {
		name     string
		runs     []*Report
		attempts int
		want     string // in the error, or in what is printed
		fails    bool
	}{
		{"as before", []*Report{measured(5.5, 0.85)}, 1, "as before", false},
		{"better", []*Report{measured(4, 0.9)}, 1, "better", false},
		{"slower", []*Report{measured(6, 0.9)}, 3, "time 0.60, was 0.50", true},
		{"a smaller share", []*Report{measured(5, 0.7)}, 3, "share 0.70, was 0.90", true},
		{"more memory", []*Report{large}, 3, "memory 1.50, was 0.75", true},
		{"slower once", []*Report{measured(9, 0.9), measured(5, 0.9)}, 2, "measured 2 times; noise: equal runs differ by up to 10 %", false},
		{"good by turns", []*Report{measured(9, 0.9), measured(5, 0.1)}, 2, "as before", false},
		{"no PyTorch here", []*Report{alone(50, 0.9)}, 1, "share", false},
		{"no PyTorch here, a smaller share", []*Report{alone(5, 0.5)}, 3, "share 0.50", true},
		{"another machine", []*Report{elsewhere}, 3, "another processor, not a processor", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			attempts := 0
			err := Check(t.Context(), stored, &out, func(_ context.Context, e Entry) (*Report, error) {
				if e.Name != "DiT pass" {
					t.Errorf("%s was measured", e.Name)
				}
				attempts++
				return c.runs[min(attempts, len(c.runs))-1], nil
			})
			text := out.String()
			if err != nil {
				text = err.Error()
			}
			if (fault.CodeOf(err) == "slower") != c.fails || (err != nil) != c.fails || attempts != c.attempts || !strings.Contains(text, c.want) {
				t.Errorf("%d attempts, %v\n%s", attempts, err, &out)
			}
		})
	}
	if err := Check(t.Context(), &Table{}, new(bytes.Buffer), nil); fault.CodeOf(err) != "no_table" {
		t.Error(err)
	}
	err := Check(t.Context(), stored, new(bytes.Buffer), func(context.Context, Entry) (*Report, error) { return nil, os.ErrPermission })
	if !errors.Is(err, os.ErrPermission) {
		t.Error(err)
	}
}

// Every line can be measured, the chart has 1, 2, 4 and 8 times the tokens, and each network is guarded.
func TestEntries(t *testing.T) {
	for _, quick := range []bool{true, false} {
		var tokens []int
		guarded := map[Network]bool{}
		for _, e := range Entries(quick) {
			size, err := ParseSize(e.Size, inference.Variant1B)
			if err != nil || e.Repeats < 1 || !slices.Contains(Networks(), e.Network) {
				t.Errorf("%+v: %v", e, err)
			}
			if e.Growth {
				tokens = append(tokens, size.Tokens())
			}
			guarded[e.Network] = guarded[e.Network] || e.Guard
		}
		if len(tokens) != 4 || tokens[1] != 2*tokens[0] || tokens[2] != 4*tokens[0] || tokens[3] != 8*tokens[0] {
			t.Errorf("lengths %v", tokens)
		}
		for _, n := range []Network{DiT, VAE, Text, Audio, E2E} {
			if !guarded[n] {
				t.Errorf("%s is not guarded", n)
			}
		}
	}
}
