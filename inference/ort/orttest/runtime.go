// Package orttest opens ONNX Runtime for the tests of other rooms.
package orttest

import (
	"fmt"
	"os"
	"testing"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference/ort"
)

func open() (*ort.Runtime, error) {
	return ort.Open(ort.Config{Library: os.Getenv("ONNXRUNTIME_LIB")}, zerolog.Nop())
}

// Open opens ONNX Runtime for one test, which fails if something of it is still in use at its end.
func Open(t testing.TB) *ort.Runtime {
	t.Helper()
	rt, err := open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rt.Close(); err != nil {
			t.Error(err)
		}
	})
	return rt
}

// Main runs a package's tests with one ONNX Runtime for all of them, and ends the process.
func Main(m *testing.M, rt **ort.Runtime) {
	var err error
	if *rt, err = open(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := (*rt).Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
