package weights

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/humo-worker/humo-worker/inference/fault"
)

func wanted(t *testing.T, variant string, separator bool) []string {
	t.Helper()
	rows, err := Wanted(variant, separator)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, f := range rows {
		list = append(list, f.Path)
	}
	return list
}

func TestWanted(t *testing.T) {
	small, large, all := wanted(t, "1.7B", false), wanted(t, "17B", false), wanted(t, "all", true)
	if len(small) != 10 || len(large) != 12 || len(all) != len(published) {
		t.Errorf("%d, %d and %d rows", len(small), len(large), len(all))
	}
	if !slices.Contains(small, pathDiT1B) || slices.Contains(small, pathDiT17B) || slices.Contains(small, pathZeroVAE480) ||
		slices.Contains(small, pathSeparator) || !slices.Contains(large, pathDiT17B) || slices.Contains(large, pathDiT1B) {
		t.Errorf("1.7B: %q\n17B: %q", small, large)
	}
	if d := cmp.Diff(append(small, pathSeparator), wanted(t, "1.7B", true)); d != "" {
		t.Error(d)
	}
	if _, err := Wanted("3B", true); fault.CodeOf(err) != "unknown_variant" || !strings.Contains(err.Error(), `"3B"`) {
		t.Errorf("%v", err)
	}
}

func TestShardsAreRows(t *testing.T) {
	index := published[slices.IndexFunc(published, func(f File) bool { return f.Sharded })]
	rows, err := index.Shards(filepath.Join(golden, pathDiT17B))
	if err != nil || len(rows) != 3 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	want := File{Path: "HuMo/HuMo-17B/humo-00001-of-00003.safetensors", Repo: repoHuMo, Revision: revHuMo,
		Source: "HuMo-17B/humo-00001-of-00003.safetensors", Variant: variant17B, Purpose: "a shard of the diffusion transformer"}
	if d := cmp.Diff(want, rows[0]); d != "" {
		t.Error(d)
	}
	if _, err := index.Shards(filepath.Join(golden, pathVAE)); fault.CodeOf(err) != "bad_weights" {
		t.Errorf("no index: %v", err)
	}
}

func TestHoldings(t *testing.T) {
	root := link(t, pathVAE, pathFeatures, "HuMo/HuMo-17B/humo-00003-of-00003.safetensors")
	write(t, filepath.Join(root, pathVAE), "PK\x03\x04 and nothing of a checkpoint after it")
	found := map[string]Holding{}
	for _, h := range Locate(root).Holdings() {
		found[h.File.Path] = h
	}
	if len(found) != len(published) {
		t.Errorf("%d holdings", len(found))
	}
	h := found[pathDiT1B]
	if h.Problem != "" || h.Bytes != 2543759 || h.Tensors == 0 || h.Parameters < 500_000 || !cmp.Equal(h.DTypes, []string{"F32"}) || !strings.HasSuffix(h.Link, pathDiT1B) {
		t.Errorf("%+v", h)
	}
	if h = found[pathTokenizer]; h.Problem != "" || h.Bytes != 67448 || h.DTypes != nil {
		t.Errorf("%+v", h)
	}
	if h = found[pathFeatures]; h.Problem != "missing" || h.Bytes != 0 {
		t.Errorf("%+v", h)
	}
	if h = found[pathVAE]; !strings.Contains(h.Problem, pathVAE) { // the checkpoint's own words
		t.Errorf("%+v", h)
	}
	if h = found[pathDiT17B]; !strings.Contains(h.Problem, "humo-00003-of-00003") {
		t.Errorf("%+v", h)
	}
	for _, h := range Locate(golden).Holdings() {
		if h.File.Path == pathDiT17B && (h.Problem != "" || h.Shards != 3 || h.Bytes != 1312528+1226536+267912+4889) {
			t.Errorf("%+v", h)
		}
	}
}
