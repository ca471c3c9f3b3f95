package checkpoint

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var twoFloats = "\x00\x00\x80\x3f\x00\x00\x00\x40" // 1, 2

func TestTorchZipVariants(t *testing.T) {
	pickle := pickleOf(pyDict("w", floats("0", 2)))
	data := zipEntry{name: "s t é m/data/0", data: twoFloats}
	pkl := zipEntry{name: "s t é m/data.pkl", data: pickle}
	order := func(s string) zipEntry { return zipEntry{name: "s t é m/byteorder", data: s} }
	for _, zip64 := range []bool{false, true} {
		for _, entries := range [][]zipEntry{
			{pkl, data},
			{data, order("little"), pkl},
			{pkl, data, {name: "s t é m/code/data.pkl", data: "x"}, {name: "data.pkl"}, {name: "other/version"}},
		} {
			s := zipOf(zip64, entries...)
			ix, err := openBytes(s.bytes())
			if err != nil {
				t.Errorf("zip64 %v: %v", zip64, err)
				continue
			}
			raw, err := ix.Tensors["w"].read(inMemory(s.bytes()))
			if err != nil || string(raw) != twoFloats {
				t.Errorf("zip64 %v: %x, %v", zip64, raw, err)
			}
		}
	}
}

// Offsets beyond 4 GB, as in ema.pth: a storage of 5 GB of zeros lies before the one that is read.
func TestTorchZipBeyond4GB(t *testing.T) {
	const hole = 5 << 30
	s := zipOf(true,
		zipEntry{name: "ema/data.pkl", data: pickleOf(pyDict("a", floats("0", hole/4), "b", floats("1", 2),
			"c", pyTensor(pyStorage("FloatStorage", "0", hole/4), hole/4-3, []int64{2}, []int64{2})))},
		zipEntry{name: "ema/data/0", hole: hole},
		zipEntry{name: "ema/data/1", data: twoFloats})
	f := &file{ReaderAt: s, size: s.size, path: "/memory"}
	ix, err := openIndex(f, "/memory")
	if err != nil {
		t.Fatal(err)
	}
	b := ix.Tensors["b"]
	raw, err := b.read(f)
	if err != nil || string(raw) != twoFloats || b.Offset < hole {
		t.Errorf("%v: %x, %v", b, raw, err)
	}
	if raw, err := ix.Tensors["c"].read(f); err != nil || string(raw) != strings.Repeat("\x00", 8) {
		t.Errorf("a view at the end of 5 GB: %x, %v", raw, err)
	}
}

func TestTorchZipRefusals(t *testing.T) {
	pkl := zipEntry{name: "m/data.pkl", data: pickleOf(pyDict("w", floats("0", 2)))}
	data := zipEntry{name: "m/data/0", data: twoFloats}
	cases := map[string]struct {
		entries []zipEntry
		code    string
		part    string
	}{
		"no pickle":          {[]zipEntry{data}, CodeMalformed, "NAME/data.pkl"},
		"two pickles":        {[]zipEntry{pkl, data, {name: "n/data.pkl"}}, CodeMalformed, "NAME/data.pkl"},
		"entry twice":        {[]zipEntry{pkl, data, data}, CodeMalformed, "twice"},
		"no storage":         {[]zipEntry{pkl}, CodeMalformed, `"m/data/0"`},
		"storage too short":  {[]zipEntry{pkl, {name: "m/data/0", data: "1234"}}, CodeMalformed, "4 bytes"},
		"storage too long":   {[]zipEntry{pkl, {name: "m/data/0", data: "123456789"}}, CodeMalformed, "9 bytes"},
		"storage compressed": {[]zipEntry{pkl, {name: "m/data/0", data: twoFloats, method: 8}}, CodeUnsupported, "compressed"},
		"pickle compressed":  {[]zipEntry{{name: "m/data.pkl", data: pkl.data, method: 8}, data}, CodeUnsupported, "compressed"},
		"big-endian":         {[]zipEntry{pkl, data, {name: "m/byteorder", data: "big"}}, CodeUnsupported, `"big"`},
		"odd byte order":     {[]zipEntry{pkl, data, {name: "m/byteorder", data: strings.Repeat("little", 99)}}, CodeUnsupported, "byte order"},
		"empty pickle":       {[]zipEntry{{name: "m/data.pkl"}, data}, CodeTruncated, "pickle"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := openBytes(zipOf(false, c.entries...).bytes())
			wantFault(t, err, c.code, c.part)
		})
	}
}

func TestTorchLegacyRefusals(t *testing.T) {
	pickle := pickleOf(pyDict("w", floats("0", 2)))
	whole := string(torchLegacy(pickle, 4, "0", twoFloats))
	if _, err := openBytes([]byte(whole + "trailing bytes, which torch ignores too")); err != nil {
		t.Fatal(err)
	}
	cases := map[string][3]string{
		"other magic":       {strings.Replace(whole, "\x6c\xfc\x9c", "\x6c\xfc\x9d", 1), CodeMalformed, "magic"},
		"no magic":          {pickleOf("N") + legacyHead, CodeMalformed, "magic"},
		"small magic":       {pickleOf("J\x01\x02\x03\x04") + legacyHead, CodeMalformed, "magic"},
		"other protocol":    {strings.Replace(whole, "M\xe9\x03", "M\xea\x03", 1), CodeMalformed, "1001"},
		"big-endian":        {strings.Replace(whole, "little_endian\x88", "little_endian\x89", 1), CodeUnsupported, "big-endian"},
		"no facts":          {strings.Replace(whole, "}(X\x0d\x00\x00\x00little_endian\x88u", "N", 1), CodeMalformed, "facts"},
		"no list":           {legacyHead + pickle + pickleOf("N") + le(2, 8) + twoFloats, CodeMalformed, "list"},
		"list too short":    {string(torchLegacy(pickle, 4)), CodeMalformed, "list"},
		"list of another":   {string(torchLegacy(pickle, 4, "1", twoFloats)), CodeMalformed, `"1"`},
		"list of a number":  {legacyHead + pickle + pickleOf("]K\x00a"), CodeMalformed, "lists"},
		"list with extras":  {string(torchLegacy(pickle, 4, "0", twoFloats, "1", twoFloats)), CodeMalformed, "list"},
		"listed twice":      {string(torchLegacy(pickleOf(pyTuple(floats("0", 2), floats("1", 2))), 4, "0", twoFloats, "0", twoFloats)), CodeMalformed, `"0"`},
		"other count":       {string(torchLegacy(pickle, 8, "0", twoFloats)), CodeMalformed, "1 elements"},
		"huge storage":      {string(torchLegacy(pickleOf(floats("0", 1<<58)), 4)), CodeMalformed, "list"},
		"huge and promised": {legacyHead + pickleOf(floats("0", 1<<58)) + pickleOf("]"+pyStr("0")+"a") + le(1<<58, 8) + twoFloats, CodeTruncated, `"0"`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := openBytes([]byte(c[0]))
			wantFault(t, err, c[1], c[2])
		})
	}
}

// A legacy file lists its storages in any order, and old ones cut a storage into views.
func TestTorchLegacyOrderAndViews(t *testing.T) {
	view := pyStorage("FloatStorage", "x", 2, pyTuple(pyStr("v"), "K\x01", "K\x01"))
	b := torchLegacy(pickleOf(pyDict("first", floats("y", 1), "second", floats("x", 2), "cut", pyTensor(view, 0, []int64{1}, []int64{1}),
		"none", pyTensor(pyStorage("FloatStorage", "x", 2, "N"), 2, []int64{0, 4}, []int64{4, 1}))), 4, "x", twoFloats, "y", "\x00\x00\x40\x40")
	ix, err := openBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]float32{}
	for name, tensor := range ix.Tensors {
		raw, err := tensor.read(inMemory(b))
		if err != nil {
			t.Fatal(err)
		}
		got[name] = widen(raw, F32)
	}
	want := map[string][]float32{"first": {3}, "second": {1, 2}, "cut": {2}, "none": {}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestTorchNames(t *testing.T) {
	one := floats("0", 1)
	cases := map[string]struct {
		root, wrapper string
		tensors       []string
		other         map[string]any
	}{
		"bare":              {one, "", []string{""}, map[string]any{}},
		"flat":              {pyDict("a.b", one, "c", one), "", []string{"a.b", "c"}, map[string]any{}},
		"wrapped":           {pyDict("state", pyDict("a", one, "b", one), "epoch", "K\x03"), "state.", []string{"state.a", "state.b"}, map[string]any{"epoch": int64(3)}},
		"wrapped twice":     {pyDict("x", pyDict("y", pyDict("a", one))), "x.y.", []string{"x.y.a"}, map[string]any{}},
		"beside each other": {pyDict("x", pyDict("a", one), "y", pyDict("a", one)), "", []string{"x.a", "y.a"}, map[string]any{}},
		"int keys":          {"}K\x07" + one + "s", "", []string{"7"}, map[string]any{}},
		"many plain values": {pyDict("flags", "]("+strings.Repeat("\x88", 5000)+"e"), "", nil, map[string]any{"flags": slices.Repeat([]any{true}, 5000)}},
		"in a list": {pyDict("l", pyTuple(one, "]", pyDict("k", "N"))), "", nil, map[string]any{"l": []any{
			&Tensor{Name: "l", DType: F32, Shape: []int64{1}, Stride: []int64{1}, File: "/memory"}, []any{}, map[string]any{"k": nil}}}},
	}
	for name, c := range cases {
		storages := []string{"0", "\x00\x00\x80\x3f"}
		if !strings.Contains(c.root, one) {
			storages = nil
		}
		ix, err := openBytes(torchLegacy(pickleOf(c.root), 4, storages...))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(c.tensors, ix.Names()); diff != "" {
			t.Errorf("%s: names (-want +got)\n%s", name, diff)
		}
		if diff := cmp.Diff(c.other, ix.Other, cmpopts.IgnoreFields(Tensor{}, "Offset")); diff != "" {
			t.Errorf("%s: other (-want +got)\n%s", name, diff)
		}
		if ix.wrapper != c.wrapper {
			t.Errorf("%s: wrapper %q, want %q", name, ix.wrapper, c.wrapper)
		}
		for _, n := range ix.Names() {
			if short := strings.TrimPrefix(n, c.wrapper); ix.Lookup(short) != ix.Tensors[n] || ix.Lookup(n) != ix.Tensors[n] {
				t.Errorf("%s: %q is not found as %q and as itself", name, n, short)
			}
		}
		if ix.Lookup("no such tensor") != nil {
			t.Errorf("%s: found a tensor that is not there", name)
		}
	}
	for name, root := range map[string]string{
		"same key twice":       pyDict("a", one, "a", one),
		"same joined name":     pyDict("a.b", one, "a", pyDict("b", one)),
		"tensor and value":     pyDict("a.b", one, "a", pyDict("b", "N")),
		"twice in a list":      pyDict("l", pyTuple(pyDict("a", "N", "a", "N"))),
		"float key":            "}G\x00\x00\x00\x00\x00\x00\x00\x00" + one + "s",
		"tuple key":            "})" + one + "s",
		"tuple key in a list":  "](})Nse",
		"class as a value":     pyDict("c", pyGlobal("collections", "OrderedDict")),
		"storage as a value":   pyDict("c", pyStorage("FloatStorage", "0", 1)),
		"storage in the list":  pyDict("c", pyTuple(pyStorage("FloatStorage", "0", 1))),
		"class at the top":     pyGlobal("torch", "FloatStorage"),
		"function in the list": pyTuple(pyGlobal("torch._utils", "_rebuild_tensor_v2")),
	} {
		_, err := openBytes(torchZip(pickleOf(root), "0", "\x00\x00\x80\x3f"))
		if err == nil {
			t.Errorf("%s: opened", name)
			continue
		}
		wantFault(t, err, CodeMalformed)
	}
}

// All that a torch file's data is described by comes out in Tensor: a link resolves to the file it points to.
func TestTorchThroughLink(t *testing.T) {
	dir := t.TempDir()
	real := write(t, filepath.Join(dir, "blobs/abc"), torchZip(pickleOf(floats("0", 2)), "0", twoFloats))
	link := filepath.Join(dir, "ema.pth")
	if err := os.Symlink("blobs/abc", link); err != nil {
		t.Fatal(err)
	}
	ix, err := Open(link)
	if err != nil {
		t.Fatal(err)
	}
	real, err = filepath.EvalSymlinks(real)
	if err != nil {
		t.Fatal(err)
	}
	if ix.Path != link || ix.Files[0] != real || ix.Tensors[""].File != real {
		t.Errorf("path %s, files %v, tensor in %s", ix.Path, ix.Files, ix.Tensors[""].File)
	}
	values, err := ix.Tensors[""].Float32()
	if err != nil || !slices.Equal(values, []float32{1, 2}) {
		t.Errorf("%v, %v", values, err)
	}
}
