package checkpoint

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func shard(names ...string) []byte {
	var fields []string
	for i, n := range names {
		fields = append(fields, fmt.Sprintf(`%q:{"dtype":"U8","shape":[1],"data_offsets":[%d,%d]}`, n, i, i+1))
	}
	return safetensorsOf("{"+strings.Join(fields, ",")+"}", strings.Repeat("x", len(names)))
}

// weightMap takes pairs of tensor and shard.
func weightMap(pairs ...string) []byte {
	var fields []string
	for i := 0; i < len(pairs); i += 2 {
		fields = append(fields, fmt.Sprintf("%q: %q", pairs[i], pairs[i+1]))
	}
	return []byte(" {\"metadata\": {\"total_size\": 3},\n \"weight_map\": {" + strings.Join(fields, ",\n") + "}}\n")
}

// A content-addressed cache, where index and shards are links into a folder of hashes.
func TestShardsThroughLinks(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "blobs/i"), weightMap("a", "one", "b", "one", "c", "sub/two"))
	write(t, filepath.Join(dir, "blobs/1"), shard("a", "b", "unlisted"))
	write(t, filepath.Join(dir, "blobs/2"), shard("c"))
	if err := os.MkdirAll(filepath.Join(dir, "snapshot/sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"index": "../blobs/i", "one": "../blobs/1", "sub/two": "../../blobs/2"} {
		if err := os.Symlink(to, filepath.Join(dir, "snapshot", link)); err != nil {
			t.Fatal(err)
		}
	}
	ix, err := Open(filepath.Join(dir, "snapshot/index"))
	if err != nil {
		t.Fatal(err)
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{real + "/blobs/1", real + "/blobs/2"}, ix.Files); diff != "" {
		t.Errorf("files (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a", "b", "c", "unlisted"}, ix.Names()); diff != "" {
		t.Errorf("names (-want +got)\n%s", diff)
	}
	if c := ix.Tensors["c"]; c.File != real+"/blobs/2" {
		t.Errorf("c lies in %s", c.File)
	}
}

func TestShardRefusals(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "outside"), shard("a"))
	write(t, filepath.Join(dir, "in/one"), shard("a", "b"))
	write(t, filepath.Join(dir, "in/again"), shard("c", "b"))
	write(t, filepath.Join(dir, "in/cut"), shard("d")[:20])
	write(t, filepath.Join(dir, "in/torch"), torchZip(pickleOf(floats("0", 2)), "0", twoFloats))
	if err := os.MkdirAll(filepath.Join(dir, "in/folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		index []byte
		code  string
		parts []string
	}{
		"parent":             {weightMap("a", "../outside"), CodeMalformed, []string{`"../outside"`, "outside the folder"}},
		"hidden parent":      {weightMap("a", "x/../../outside"), CodeMalformed, []string{"outside the folder"}},
		"absolute":           {weightMap("a", filepath.Join(dir, "in/one")), CodeMalformed, []string{"outside the folder"}},
		"empty":              {weightMap("a", ""), CodeMalformed, []string{"outside the folder"}},
		"missing shards":     {weightMap("a", "one", "y", "no", "z", "none"), CodeMissing, []string{"2 of 3", `"no"`, `"none"`}},
		"missing tensors":    {weightMap("a", "one", "y", "one", "z", "one"), CodeMissing, []string{"2 tensors", `"y"`, `"z"`}},
		"tensor elsewhere":   {weightMap("b", "one", "a", "again"), CodeMalformed, []string{`"b"`, "two shards"}},
		"tensor twice":       {weightMap("a", "one", "c", "again"), CodeMalformed, []string{`"b"`, "two shards"}},
		"shard in two names": {weightMap("a", "one", "b", "./one"), CodeMalformed, []string{"two shards"}},
		"shard cut":          {weightMap("d", "cut"), CodeTruncated, []string{"in/cut"}},
		"shard a torch file": {weightMap("d", "torch"), CodeMalformed, []string{"in/torch"}},
		"shard a folder":     {weightMap("d", "folder"), CodeMalformed, []string{"in/folder", "not a regular file"}},
		"listed twice":       {weightMap("a", "one", "a", "one"), CodeMalformed, []string{`"a"`, "twice"}},
		"no weight map":      {[]byte(`{"model_type": "whisper"}`), CodeMalformed, []string{"weight_map"}},
		"empty weight map":   {weightMap(), CodeMalformed, []string{"weight_map"}},
		"map of numbers":     {[]byte(`{"weight_map": {"a": 1}}`), CodeMalformed, nil},
		"map an array":       {[]byte(`{"weight_map": ["one"]}`), CodeMalformed, nil},
		"two maps":           {[]byte(`{"weight_map": {"a": "one"}, "weight_map": {"b": "one"}}`), CodeMalformed, nil},
		"cut":                {weightMap("a", "one")[:60], CodeTruncated, nil},
		"followed by more":   {append(weightMap("a", "one"), '{'), CodeMalformed, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			path := write(t, filepath.Join(dir, "in/index.json"), c.index)
			_, err := Open(path)
			wantFault(t, err, c.code, append(c.parts, dir)...)
		})
	}
	large := &sparse{}
	large.add(`{"weight_map":{`, 1<<40)
	_, err := openIndex(&file{ReaderAt: large, size: large.size, path: "/memory"}, "/memory")
	wantFault(t, err, CodeMalformed, "at most")
}

func TestOpenRefusals(t *testing.T) {
	dir := t.TempDir()
	for path, code := range map[string]string{
		filepath.Join(dir, "none.pth"): CodeMissing,
		dir:                            CodeMalformed,
		os.DevNull:                     CodeMalformed,
	} {
		_, err := Open(path)
		wantFault(t, err, code, path)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "dangling")); err != nil {
		t.Fatal(err)
	}
	_, err := Open(filepath.Join(dir, "dangling"))
	wantFault(t, err, CodeMissing, "dangling")
}
