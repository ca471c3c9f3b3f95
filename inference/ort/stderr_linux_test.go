package ort

import (
	"context"
	"io"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
)

// TestStandardError shows that ONNX Runtime's own lines stay away unless asked for.
func TestStandardError(t *testing.T) {
	for level, silent := range map[string]bool{"": true, "fatal": true, "error": false} {
		rt := openRuntime(t, Config{LogLevel: level})
		const links, n = 400, 512
		s := newSession(t, rt, chainOf(links, n), SessionOptions{})
		in := map[string]*Tensor{"x0": tensorOf(t)(Zeros(checkpoint.F32, []int64{n, n})), "w": tensorOf(t)(Zeros(checkpoint.F32, []int64{n, n}))}
		gather := new(toy).in("x", checkpoint.F32, 2).in("i", checkpoint.I64, 1).out("y", checkpoint.F32, 1).op("Gather", "x i", "y", "").build("gather")
		bad := newSession(t, rt, gather, SessionOptions{})
		outside := map[string]*Tensor{"x": floats(t, []int64{2}, 1, 2), "i": tensorOf(t)(FromInt64s([]int64{1}, []int64{7}))}
		lines := standardError(t, func() {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			if out, err := s.Run(ctx, in); err == nil {
				t.Error("the run was not stopped")
				closeAll(t, out["x"+strconv.Itoa(links)])
			}
			if _, err := bad.Run(t.Context(), outside); err == nil {
				t.Error("an index outside the tensor is no error")
			}
			if _, err := rt.NewSession(new(toy).in("x", checkpoint.F32, 1).out("y", checkpoint.F32, 1).op("No", "x", "y", "").build("bad"), SessionOptions{}); err == nil {
				t.Error("the bad model loads")
			}
		})
		if (lines == "") != silent {
			t.Errorf("HUMO_ORT_LOG=%q writes to standard error: %q", level, lines)
		}
		closeAll(t, s, bad)
		closeAll(t, rt)
	}
}

// standardError returns what do writes to file descriptor 2.
func standardError(t *testing.T, do func()) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "stderr")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	saved, err := unix.Dup(2)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(saved) }()
	if err := unix.Dup3(int(f.Fd()), 2, 0); err != nil {
		t.Fatal(err)
	}
	do()
	if err := unix.Dup3(saved, 2, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	lines, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(lines)
}
