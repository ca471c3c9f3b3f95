package pull

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/humo-worker/humo-worker/inference/weights"
)

// FuzzJournal opens any bytes as the journal of an incomplete file of 1000 bytes in blocks of 64: what it counts is what its
// blocks have, a journal of another file counts as none, and what is noted afterwards is there at the next start.
func FuzzJournal(f *testing.F) {
	h := heading{Repo: "r", Revision: "1", Source: "s", Facts: facts{Size: 1000}, Block: 64}
	first, err := json.Marshal(h)
	if err != nil {
		f.Fatal(err)
	}
	for _, lines := range []string{"", "0 00000000\n15 ffffffff\n", "3 00000001\n3 -\n", "99 00000000\n-1 00000000\n", "1 0000", "x\n\n2  00000001\n", "4 1ffffffff\n", "5 0000000g\n"} {
		f.Add(string(first)+"\n", lines)
	}
	f.Add(`{"Block": 1}`+"\n", "0 00000000\n")
	f.Add("", "")
	name := filepath.Join(f.TempDir(), "journal")
	f.Fuzz(func(t *testing.T, head, lines string) {
		if err := os.WriteFile(name, []byte(head+lines), 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := openJournal(name, h)
		if err != nil {
			t.Fatal(err)
		}
		check := func(j *journal) (there int64) {
			t.Helper()
			missing := 0
			for i, sum := range j.sums {
				if sum != absent {
					there += j.sizeOf(i)
				} else {
					missing++
				}
			}
			for _, s := range j.missing(3) {
				if s.to-s.from < 1 || s.to-s.from > 3 || s.to > len(j.sums) {
					t.Fatalf("%q: the run %+v", head+lines, s)
				}
				missing -= s.to - s.from
			}
			if len(j.sums) != 16 || j.arrived() != there || there > 1000 || missing != 0 {
				t.Fatalf("%q: %d blocks, %d of %d bytes have arrived, %d blocks are in no run", head+lines, len(j.sums), j.arrived(), there, missing)
			}
			return there
		}
		before := check(j)
		var theirs heading
		if line, _, whole := strings.Cut(head+lines, "\n"); (!whole || json.Unmarshal([]byte(line), &theirs) != nil || theirs != h) && before != 0 {
			t.Fatalf("%q: %d bytes of another file's journal count", head+lines, before)
		}
		if err := j.note(7, 0xdeadbeef); err != nil {
			t.Fatal(err)
		}
		after := check(j)
		if err := j.close(); err != nil {
			t.Fatal(err)
		}
		again, err := openJournal(name, h)
		if err != nil {
			t.Fatal(err)
		}
		defer again.close() //nolint:errcheck // read and looked at
		if check(again) != after || again.sums[7] != 0xdeadbeef {
			t.Fatalf("%q: after another start %d bytes, before %d; block 7 is %x", head+lines, again.arrived(), after, again.sums[7])
		}
	})
}

// FuzzRecord reads any bytes as the list of what was pulled: an entry counts only for the file, revision and digest that it
// names, and an entry that is added is there at the next start, with those that were.
func FuzzRecord(f *testing.F) {
	dir := f.TempDir()
	l := weights.Locate(dir)
	file := weights.File{Path: "a/b", Repo: "r", Revision: "1", SHA256: "ab"}
	for _, seed := range []string{
		`{"format": "` + recordFormat + `", "files": [{"path": "a/b", "repo": "r", "revision": "1", "bytes": 3, "sha256": "abc"}, {"path": "a/b", "repo": "r"}, {"path": "../x"}]}`,
		`{"format": "` + recordFormat + `", "files": null}`, `{"format": "x", "files": [{"path": "a/b"}]}`, `{"files": [{"sha256": 1}]}`, `[`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(l.Path(recordName), b, 0o600); err != nil {
			t.Fatal(err)
		}
		r := readRecord(l)
		if e, ok := r.of(file); ok && (e.Path != "a/b" || e.Repo != "r" || e.Revision != "1" || !strings.HasPrefix(e.SHA256, "ab")) {
			t.Fatalf("%s: %+v counts", b, e)
		}
		others := len(r.entries)
		if _, ok := r.entries["a/b"]; ok {
			others--
		}
		if err := r.add(file, 5, "abcd"); err != nil {
			t.Fatal(err)
		}
		again := readRecord(l)
		if e, ok := again.of(file); !ok || e.Bytes != 5 || e.SHA256 != "abcd" || len(again.entries) != others+1 {
			t.Fatalf("%s: after another start %+v of %d entries, %d others", b, e, len(again.entries), others)
		}
		if text, err := os.ReadFile(l.Path(recordName)); err != nil || len(text) > 20*len(b)+1000 || !bytes.HasSuffix(text, []byte("\n")) {
			t.Fatalf("a record of %d bytes of one of %d, %v", len(text), len(b), err)
		}
	})
}

// FuzzAskedWait: whatever a hub's headers say, the wait that they ask for is not negative, and plain seconds are
// taken as they are.
func FuzzAskedWait(f *testing.F) {
	for _, seed := range [][2]string{{"30", ""}, {"Wed, 21 Oct 2015 07:28:00 GMT", ""}, {"-1", `"resolvers";r=0;t=55`}, {"99999999999", ";t=999999999"}, {"1e9", "; t=1073741823"}, {"Fri, 31 Dec 9999 23:59:59 GMT", ""}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, after, limit string) {
		wait := askedWait(http.Header{"Retry-After": {after}, "Ratelimit": {limit}})
		if wait < 0 {
			t.Fatalf("%q, %q: %s", after, limit, wait)
		}
		if seconds, err := strconv.ParseUint(after, 10, 29); err == nil && wait != time.Duration(seconds)*time.Second {
			t.Fatalf("%q: %s", after, wait)
		}
	})
}
