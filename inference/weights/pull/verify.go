package pull

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// Finding is what Verify says about a file that is there, or that an index which is there names.
type Finding struct {
	Path    string
	Bytes   int64
	Problem string // what is wrong, and the cure; empty: nothing
	Checked string // what was compared
}

// readers is how many files are read at once: network volumes are faster that way.
const readers = 4

// Verify compares what lies in a layout with what was published: every byte by SHA-256, or with quick only the sizes. A row
// whose file is not there is passed over. The digests are those of the record that pulls leave, else of the table; a file
// that neither knows is reported as such, without being wrong.
func Verify(ctx context.Context, l weights.Layout, rows []weights.File, quick bool, observe func(Progress)) ([]Finding, error) {
	if l.IsDemo() {
		return nil, fault.New("demo_folder", "", "%s holds the demo bundle; the command that writes it also checks it: humo-worker weights demo", l.Root)
	}
	var all []weights.File
	for _, f := range rows {
		if _, err := os.Lstat(l.Path(f.Path)); err != nil {
			continue
		}
		all = append(all, f)
		if !f.Sharded {
			continue
		}
		if shards, err := f.Shards(l.Path(f.Path)); err == nil { // else it is found to be wrong below
			all = append(all, shards...)
		}
	}
	record, findings := readRecord(l), make([]Finding, len(all))
	for _, f := range all {
		p := Progress{Path: f.Path, Phase: Planned}
		if st, err := os.Stat(l.Path(f.Path)); err == nil {
			p.Total = st.Size()
		}
		observe(p)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for i, f := range all {
		g.Go(func() (err error) {
			findings[i], err = verify(ctx, l, f, record, quick, observe)
			observe(Progress{Path: f.Path, Phase: Done, Bytes: findings[i].Bytes, Total: findings[i].Bytes})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return findings, nil
}

func verify(ctx context.Context, l weights.Layout, f weights.File, r *record, quick bool, observe func(Progress)) (Finding, error) {
	name, found := l.Path(f.Path), Finding{Path: f.Path}
	wrong := func(format string, args ...any) (Finding, error) {
		found.Problem = fmt.Sprintf(format, args...)
		return found, nil
	}
	st, err := os.Stat(name)
	switch {
	case err != nil && vacant(name):
		return wrong("missing; pull again")
	case err != nil:
		return wrong("cannot be read: %v", cause(err))
	case !st.Mode().IsRegular():
		return wrong("no file; move it away and pull again")
	}
	found.Bytes = st.Size()
	if lies, err := filepath.EvalSymlinks(name); err == nil { // a link would lead the next pull to the same bytes
		name = lies
	}
	want, known := r.of(f)
	if !known {
		want = entry{Bytes: f.Bytes, SHA256: f.SHA256}
	}
	if want.Bytes > 0 && st.Size() != want.Bytes {
		return wrong("has %d bytes and the published file has %d; delete %s, or move it away, and pull again", st.Size(), want.Bytes, name)
	}
	if f.Sharded {
		if _, err := f.Shards(name); err != nil {
			return wrong("no index of shards; delete %s and pull again", name)
		}
	}
	if want.Bytes > 0 {
		found.Checked = "size"
	}
	if quick || want.SHA256 == "" {
		return found, nil
	}
	sum, _, err := digest(ctx, name, false, func(bytes int64) {
		observe(Progress{Path: f.Path, Phase: Checking, Bytes: bytes, Total: st.Size()})
	})
	switch {
	case ctx.Err() != nil:
		return found, context.Cause(ctx)
	case err != nil:
		return wrong("cannot be read: %v", cause(err))
	case !strings.HasPrefix(sum, want.SHA256):
		return wrong("other bytes than published (SHA-256 %s…, not %s…); delete %s and pull again", sum[:16], want.SHA256[:min(16, len(want.SHA256))], name)
	}
	found.Checked = "SHA-256"
	return found, nil
}
