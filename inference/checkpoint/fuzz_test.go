package checkpoint

import (
	"path/filepath"
	"testing"
)

// FuzzSafetensors and FuzzTorch open any bytes: no panic, no tensor outside the file, memory in proportion.
func FuzzSafetensors(f *testing.F) {
	for path, b := range goldenFiles(f, 6000) {
		if filepath.Ext(path) == ".safetensors" || filepath.Ext(path) == ".json" {
			f.Add(b)
		}
	}
	f.Add(safetensorsOf(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{"k":"v"}} `, twoFloats))
	f.Add(weightMap("a", "one", "b", "two"))
	f.Fuzz(fuzzOpen)
}

func FuzzTorch(f *testing.F) {
	for _, s := range mutationSeeds(f) { // both layouts
		f.Add(s.wrap(s.bytes))
	}
	f.Add(zipOf(true, zipEntry{name: "m/data.pkl", data: pickleOf(floats("0", 2))}, zipEntry{name: "m/data/0", data: twoFloats}).bytes())
	f.Add(torchLegacy(pickleOf(floats("0", 2)), 4, "0", twoFloats))
	f.Fuzz(fuzzOpen)
}

func fuzzOpen(t *testing.T, b []byte) {
	f := inMemory(b)
	ix, err := openIndex(f, "/nowhere/memory")
	checkOpened(t, f, ix, err)
}
