package checkpoint

import (
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// goldenFiles are the golden checkpoints of at most most bytes, by path.
func goldenFiles(t testing.TB, most int64) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, pattern := range []string{"cases/torch/*", "cases/*.safetensors", "weights/*/*.p*t*", "weights/*/*.safetensors",
		"weights/*/*/*.pth", "weights/*/*/*.safetensors", "weights/*/*/*.index.json"} {
		paths, err := filepath.Glob(filepath.Join(golden, pattern))
		if err != nil || len(paths) == 0 {
			t.Fatalf("no golden file matches %s (%v)", pattern, err)
		}
		for _, path := range paths {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if int64(len(b)) <= most && strings.Contains(filepath.Base(path), ".") && filepath.Ext(path) != ".onnx" {
				files[path] = b
			}
		}
	}
	return files
}

// A golden file that is cut anywhere does not open, and saying so costs little.
func TestTruncated(t *testing.T) {
	files := goldenFiles(t, 1<<30)
	if len(files) < 40 {
		t.Fatalf("found only %d golden files", len(files))
	}
	cuts := 0
	for path, b := range files {
		for _, n := range cutPoints(b) {
			cuts++
			f := inMemory(b[:n])
			var err error
			used := allocated(func() { _, err = openIndex(f, path) })
			if code := fault.CodeOf(err); err == nil || code != CodeTruncated && code != CodeMalformed {
				t.Fatalf("%s, cut to %d of %d bytes: %v (%s)", path, n, len(b), err, code)
			}
			if limit := uint64(1<<20 + 64*min(n, 1<<20)); used > limit {
				t.Fatalf("%s, cut to %d bytes: %d bytes of garbage, more than %d", path, n, used, limit)
			}
		}
	}
	t.Logf("%d files, %d cuts", len(files), cuts)
}

// cutPoints are all lengths of a small file, and of a large one those near its ends and some between.
func cutPoints(b []byte) []int {
	var cuts []int
	if len(b) <= 2000 {
		for n := range b {
			cuts = append(cuts, n)
		}
		return cuts
	}
	for n := range 40 {
		cuts = append(cuts, n, len(b)-1-n)
	}
	hash := fnv.New64a()
	_, _ = hash.Write(b)
	rng := rand.New(rand.NewPCG(hash.Sum64(), 1))
	for range 40 {
		cuts = append(cuts, rng.IntN(len(b)), rng.IntN(min(len(b), 20000)))
	}
	return cuts
}

// Twenty thousand damaged checkpoints: an error or a list of tensors that lie in the file, no panic, little memory.
func TestMutated(t *testing.T) {
	seeds := mutationSeeds(t)
	rng := rand.New(rand.NewPCG(20260117, 2))
	const rounds = 20000
	opened := 0
	for i := range rounds {
		b := mutate(rng, seeds[i%len(seeds)])
		f := inMemory(b)
		var ix *Index
		var err error
		used := allocated(func() { ix, err = openIndex(f, "/nowhere/memory") })
		if limit := uint64(1<<20 + 256*len(b)); used > limit {
			t.Fatalf("round %d: opening %d bytes made %d bytes of garbage, more than %d", i, len(b), used, limit)
		}
		if err == nil {
			opened++
		}
		checkOpened(t, f, ix, err)
	}
	t.Logf("%d of %d opened", opened, rounds)
	if opened == 0 || opened == rounds {
		t.Errorf("%d of %d opened: the damage tests nothing", opened, rounds)
	}
}

// mutationSeeds are the small golden files and, so that damage reaches the unpickler and not only the containers,
// their pickles in containers that are built around the damage.
func mutationSeeds(t testing.TB) []seed {
	t.Helper()
	var seeds []seed
	files := goldenFiles(t, 8000)
	for _, name := range []string{"protocol4.pth", "legacy4.pth"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = b
	}
	paths := make([]string, 0, len(files))
	for path := range files {
		paths = append(paths, path)
	}
	slices.Sort(paths) // the rounds must not depend on the order of a map
	for _, path := range paths {
		b := files[path]
		seeds = append(seeds, seed{b, func(b []byte) []byte { return b }})
		if string(b[:2]) != "PK" {
			continue
		}
		archive, err := openArchive(inMemory(b))
		if err != nil {
			t.Fatal(err)
		}
		var pickle []byte
		var rest []zipEntry
		for name := range archive.entries {
			offset, size, err := archive.find(strings.TrimPrefix(name, archive.stem+"/"))
			if err != nil {
				t.Fatal(err)
			}
			data := b[offset : offset+size]
			if name == archive.stem+"/data.pkl" {
				pickle = data
			} else {
				rest = append(rest, zipEntry{name: name, data: string(data)})
			}
		}
		slices.SortFunc(rest, func(a, b zipEntry) int { return strings.Compare(a.name, b.name) })
		stem := archive.stem
		wrap := func(b []byte) []byte {
			return zipOf(false, append([]zipEntry{{name: stem + "/data.pkl", data: string(b)}}, rest...)...).bytes()
		}
		seeds = append(seeds, seed{pickle, wrap}, seed{pickle, wrap})
	}
	return seeds
}

type seed struct {
	bytes []byte
	wrap  func([]byte) []byte
}

// mutate damages a few places: single bytes, lengths and counts, and whole ranges.
func mutate(rng *rand.Rand, s seed) []byte {
	b := slices.Clone(s.bytes)
	large := []uint64{0, 1, 0x7f, 0xff, 0xffff, 1 << 31, 1<<32 - 1, 1 << 32, 1<<63 - 1, 1 << 63, 1<<64 - 1}
	for range 1 + rng.IntN(3) {
		at := rng.IntN(len(b))
		end := at + rng.IntN(min(len(b)-at, 40)+1)
		switch rng.IntN(8) {
		case 0, 1:
			b[at] = byte(rng.Uint32())
		case 2:
			b[at] ^= 1 << rng.IntN(8)
		case 3: // a number of 4 or 8 bytes
			size := 4 << rng.IntN(2)
			if at+size <= len(b) {
				copy(b[at:at+size], binary.LittleEndian.AppendUint64(nil, large[rng.IntN(len(large))]))
			}
		case 4:
			b = slices.Delete(b, at, end)
		case 5: // a range again, somewhere else
			b = slices.Insert(b, rng.IntN(len(b)), slices.Clone(b[at:end])...)
		case 6: // an instruction of a pickle
			ops := "(.NJKMGX)t]aes}uqhcRbQijr\x80\x81\x85\x86\x87\x88\x89\x8a\x8c\x8d\x93\x94\x95"
			b[at] = ops[rng.IntN(len(ops))]
		case 7: // a digit
			if i := slices.IndexFunc(b[at:], func(c byte) bool { return c >= '0' && c <= '9' }); i >= 0 {
				b[at+i] = '0' + byte(rng.IntN(10))
			}
		}
		if len(b) == 0 {
			b = []byte{0}
		}
	}
	return s.wrap(b)
}

// checkOpened checks what a caller of Open may rely on, whatever the bytes were.
func checkOpened(t *testing.T, f *file, ix *Index, err error) {
	t.Helper()
	if err != nil {
		if code := fault.CodeOf(err); code == "internal" || code == CodeUnreadable {
			t.Fatalf("%v has the code %s", err, code)
		}
		return
	}
	names := ix.Names()
	for _, name := range names[:min(len(names), 50)] {
		x := ix.Tensors[name]
		raw, err := x.read(f)
		if fault.CodeOf(err) == CodeUnsupported { // more repetitions than the file is long
			continue
		}
		if err != nil || int64(len(raw)) != x.Elements()*x.DType.Size() || int64(len(raw)) > f.size {
			t.Fatalf("%v: %d bytes, %v", x, len(raw), err)
		}
		if x.Contiguous() && len(raw) > 0 && (x.Offset < 0 || x.Offset+int64(len(raw)) > f.size) {
			t.Fatalf("%v is outside the file", x)
		}
	}
}
