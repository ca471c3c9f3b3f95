package weights

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
)

// sample is a list with every dtype, a scalar, four dimensions and more than one batch of names.
func sample(n int) []tensor {
	list := []tensor{
		{"w.f32", checkpoint.F32, []int64{3, 5}, around(0, 1)}, {"w.bf16", checkpoint.BF16, []int64{7}, around(1, 0.1)},
		{"w.f16", checkpoint.F16, []int64{2, 3, 4, 2}, around(0, 1)}, {"w.scalar", checkpoint.F32, nil, around(2, 0)},
		{"w.large", checkpoint.F32, []int64{300, 300}, around(0, 1)},
	}
	for i := len(list); i < n; i++ {
		list = append(list, tensor{block("blocks", i) + ".bias", checkpoint.F32, []int64{2}, around(0, 1)})
	}
	return list
}

// check opens the file and compares every tensor with what was meant to be written.
func check(t *testing.T, file string, want []tensor) {
	t.Helper()
	ix, err := checkpoint.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(ix.Tensors) != len(want) {
		t.Errorf("%s holds %d tensors, want %d", file, len(ix.Tensors), len(want))
	}
	for _, w := range want {
		got := ix.Tensors[w.name]
		if got == nil {
			t.Errorf("%s lacks %s", file, w.name)
			continue
		}
		if got.DType != w.dtype || len(got.Shape) != len(w.shape) || len(w.shape) > 0 && !cmp.Equal(got.Shape, w.shape) {
			t.Errorf("%v, want %s%v", got, w.dtype, w.shape)
			continue
		}
		var raw bytes.Buffer
		if err := w.writeTo(&raw); err != nil {
			t.Fatal(err)
		}
		have, err := got.Raw()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(have, raw.Bytes()) {
			t.Errorf("%s: the bytes differ from what was written", w.name)
		}
	}
}

// saved writes a file and returns its name.
func saved(t *testing.T, write func(io.Writer) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestFormatsReadBack(t *testing.T) {
	for _, n := range []int{5, 1000, 1001, 2003} { // around Python's batches of 1000
		list := sample(n)
		check(t, saved(t, torchZip{stem: "archive", modern: true, tensors: list}.writeTo), list)
		check(t, saved(t, torchZip{stem: "old", modules: []string{"", "w"}, tensors: list}.writeTo), list)
		check(t, saved(t, torchLegacy{location: "cuda:0", tensors: list}.writeTo), list)
		check(t, saved(t, func(w io.Writer) error { return writeSafetensors(w, list) }), list)
	}
}

func TestShardsReadBack(t *testing.T) {
	list, dir := sample(40), t.TempDir()
	names, cut, index, err := shards(list, 3)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		p := part{name, func(w io.Writer) error { return writeSafetensors(w, cut[i]) }}
		if _, _, err := p.put(dir, false); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "x.safetensors.index.json"), string(index))
	check(t, filepath.Join(dir, "x.safetensors.index.json"), list)
}

// TestTorchZipLayout checks what torch's own writer is known for: the record order, stored entries, and data at multiples
// of 64 bytes. (Byte equality with torch.save but for the serialization id was checked by hand with torch 2.15.)
func TestTorchZipLayout(t *testing.T) {
	r, err := zip.OpenReader(saved(t, torchZip{stem: "archive", modern: true, tensors: sample(6)}.writeTo))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	var names []string
	for _, f := range r.File {
		names = append(names, f.Name)
		at, err := f.DataOffset()
		if err != nil || at%64 != 0 || f.Method != zip.Store {
			t.Errorf("%s: data at %d (%v), method %d", f.Name, at, err, f.Method)
		}
		rc, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, rc); err != nil { // checks the sum
			t.Errorf("%s: %v", f.Name, err)
		}
		_ = rc.Close()
	}
	want := strings.Fields(`data.pkl .format_version .storage_alignment byteorder data/0 data/1 data/2 data/3 data/4 data/5 version
		.data/serialization_id`)
	for i := range want {
		want[i] = "archive/" + want[i]
	}
	if d := cmp.Diff(want, names); d != "" {
		t.Error(d)
	}
}

// TestZip64 puts entries behind a hole of 5 GB in a sparse file.
func TestZip64(t *testing.T) {
	const hole = 5 << 30
	f, err := os.Create(filepath.Join(t.TempDir(), "sparse.pth"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Seek(hole, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	z := &zipWriter{w: newCounter(f), stem: "s"}
	z.w.n = hole
	for _, name := range []string{"a", "b"} {
		if err := z.record(name, []byte("content of "+name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.close(); err != nil {
		t.Fatal(err)
	}
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	r, err := zip.NewReader(f, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"s/a", "s/b"} {
		at, err := r.File[i].DataOffset()
		if r.File[i].Name != name || err != nil || at < hole || at%64 != 0 {
			t.Errorf("%s: data at %d, %v", r.File[i].Name, at, err)
		}
		rc, err := r.File[i].Open()
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(rc); err != nil || string(b) != "content of "+name[2:] {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		_ = rc.Close()
	}
	if err := z.entry("too large", zip32, nil); err == nil {
		t.Error("an entry of 4 GB was accepted")
	}
	if err := z.entry("short", 4, func(w io.Writer) error { _, err := w.Write([]byte("abc")); return err }); err == nil {
		t.Error("an entry shorter than announced was accepted")
	}
}

// TestTokenizerHasThePublishedBlocks compares everything but the vocabulary with the golden tokenizer.
func TestTokenizerHasThePublishedBlocks(t *testing.T) {
	ours, err := tokenizerJSON(pieces())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := os.ReadFile(filepath.Join(golden, pathTokenizer))
	if err != nil {
		t.Fatal(err)
	}
	read := func(b []byte) (doc map[string]any, vocabulary, added []any) {
		if err := json.Unmarshal(b, &doc); err != nil {
			t.Fatal(err)
		}
		model := doc["model"].(map[string]any)
		vocabulary, added = model["vocab"].([]any), doc["added_tokens"].([]any)
		for i, a := range added { // an added token's id is that of its piece
			token := a.(map[string]any)
			if id := int(token["id"].(float64)); vocabulary[id].([]any)[0] != token["content"] {
				t.Errorf("added token %d: id %d is %v", i, id, vocabulary[id])
			}
			delete(token, "id")
		}
		delete(model, "vocab")
		return doc, vocabulary, added
	}
	a, va, _ := read(ours)
	b, vb, _ := read(theirs)
	if d := cmp.Diff(b, a); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(vb[:262], va[:262]); d != "" { // special, user-defined and byte pieces
		t.Error(d)
	}
	seen := map[any]bool{}
	for _, v := range va {
		if seen[v.([]any)[0]] {
			t.Errorf("%v occurs twice", v)
		}
		seen[v.([]any)[0]] = true
	}
	for c := ' ' + 1; c <= '~'; c++ {
		if !seen[string(c)] {
			t.Errorf("no piece for %q", c)
		}
	}
	for _, c := range negativePhrases {
		if !seen[string(c)] {
			t.Errorf("no piece for %q", c)
		}
	}
}

func TestSpecialTokensAreThePublishedFile(t *testing.T) {
	ours, err := specialTokens()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := os.ReadFile(filepath.Join(golden, pathSpecialTokens))
	if err != nil || !bytes.Equal(ours, theirs) {
		t.Errorf("special_tokens_map.json differs (%v)", err)
	}
}

func TestSentencePieceHoldsTheVocabulary(t *testing.T) {
	vocabulary, got := pieces(), 0
	for b := sentencePiece(vocabulary); len(b) > 0; {
		field, _, n := protowire.ConsumeTag(b)
		m, k := protowire.ConsumeBytes(b[max(n, 0):])
		if n < 0 || k < 0 {
			t.Fatal("malformed message")
		}
		b = b[n+k:]
		if field != 1 {
			continue
		}
		if text, _ := protowire.ConsumeBytes(m[1:]); string(text) != vocabulary[got].text {
			t.Fatalf("piece %d is %q, want %q", got, text, vocabulary[got].text)
		}
		got++
	}
	if got != len(vocabulary)-300 {
		t.Errorf("%d pieces, want %d", got, len(vocabulary)-300)
	}
}
