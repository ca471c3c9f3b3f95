// Package pull brings the published weights from the model hub to a folder, and keeps what it knows of them: a file
// appears under its name only whole, with the right digest, and is never written again. Whatever ends a pull, the next one
// goes on where it stopped.
//
// It must not know what the files are for. Which they are is said by the table in package weights.
package pull

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// Pull brings the given rows of the table, and the shards of those that are an index, into a layout. observe is called by
// several goroutines. Errors are faults, or the context's.
func Pull(ctx context.Context, cfg Config, l weights.Layout, rows []weights.File, log zerolog.Logger, observe func(Progress)) (*Summary, error) {
	if cfg.limits == (limits{}) {
		cfg.limits = standard
	}
	hub, err := newHub(cfg, log)
	if err != nil {
		return nil, err
	}
	defer hub.close()
	if l.IsDemo() {
		return nil, fault.New("demo_folder", "", "%s holds the demo bundle, and real weights are not mixed into it; name another folder with --dir", l.Root)
	}
	unlock, err := lock(ctx, l, log)
	if err != nil {
		return nil, err
	}
	defer unlock()
	p := &puller{
		hub: hub, layout: l, limits: cfg.limits, caches: cfg.caches(), log: log, observe: observe, record: readRecord(l),
		slots:   make(chan struct{}, cfg.limits.connections),
		buffers: sync.Pool{New: func() any { b := make([]byte, cfg.limits.block); return &b }},
	}
	var indexes, rest []weights.File
	for _, f := range rows {
		if f.Sharded {
			indexes = append(indexes, f)
		} else {
			rest = append(rest, f)
		}
	}
	if err := p.bring(ctx, indexes); err != nil {
		return nil, err
	}
	for _, f := range indexes {
		shards, err := f.Shards(l.Path(f.Path))
		if err != nil {
			return nil, err
		}
		rest = append(shards, rest...)
	}
	if err := p.bring(ctx, rest); err != nil {
		return nil, err
	}
	p.summary.Fetched = p.fetched.Load()
	return &p.summary, nil
}

// puller is one pull.
type puller struct {
	hub     *hub
	layout  weights.Layout
	limits  limits
	caches  []string
	log     zerolog.Logger
	observe func(Progress)
	record  *record
	slots   chan struct{} // a place per connection
	buffers sync.Pool     // of a block
	fetched atomic.Int64

	summary Summary
}

// item is a file of a plan.
type item struct {
	weights.File
	target string
	facts  facts
	left   int64 // bytes to fetch
	place  place
	cache  string // where it lies, if inCache
	told   func(Progress)
}

// place is where a file is found.
type place uint8

const (
	nowhere  place = iota
	recorded       // in its place, and an earlier pull checked it
	present        // in its place, unchecked
	inCache
	without // the hub has none, and the engine can do without
)

func (it *item) tell(phase Phase, bytes int64) {
	it.told(Progress{Path: it.Path, Phase: phase, Bytes: bytes, Total: it.facts.Size})
}

// bring brings files into place: first it is found out what each must be and where it lies, then whether there is room,
// then they are fetched.
func (p *puller) bring(ctx context.Context, rows []weights.File) error {
	items := make([]*item, len(rows))
	g, planning := errgroup.WithContext(ctx)
	g.SetLimit(p.limits.connections)
	for i, f := range rows {
		items[i] = &item{File: f, target: p.layout.Path(f.Path), told: p.observe}
		g.Go(func() error { return p.plan(planning, items[i]) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	items = slices.DeleteFunc(items, func(it *item) bool { return it.place == without })
	var left int64
	for _, it := range items {
		left += it.left
		it.tell(Planned, it.facts.Size-it.left)
	}
	if err := roomFor(p.layout.Root, left); err != nil {
		return err
	}
	g, fetching := errgroup.WithContext(ctx)
	g.SetLimit(p.limits.files)
	for _, it := range items {
		g.Go(func() error {
			if err := p.settle(fetching, it); err != nil {
				return err
			}
			it.tell(Done, it.facts.Size)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, it := range items {
		p.count(it)
	}
	return nil
}

// plan finds out what a file must be, and where it is. A file that an earlier pull put in place needs no hub.
func (p *puller) plan(ctx context.Context, it *item) error {
	st, err := os.Stat(it.target)
	if e, ok := p.record.of(it.File); ok && err == nil && st.Size() == e.Bytes {
		it.place, it.facts = recorded, facts{Size: e.Bytes, SHA256: e.SHA256}
		return nil
	}
	if it.facts, err = p.hub.look(ctx, it.File); err != nil {
		if fault.CodeOf(err) == "revision_moved" && it.Need != weights.Required {
			p.log.Warn().Msgf("%s is left out: %v", it.Path, err)
			it.place = without
			return nil
		}
		return err
	}
	if !vacant(it.target) {
		it.place = present
		return p.expected(it)
	}
	var ok bool
	if it.cache, ok = cached(p.caches, it.File, it.facts); ok {
		it.place = inCache
		return nil
	}
	it.left = it.facts.Size
	if _, err := os.Stat(it.target + incomplete); err != nil {
		return nil
	}
	d, err := p.begin(it)
	if err != nil {
		return err
	}
	defer d.close()
	it.left -= d.journal.arrived()
	return nil
}

// expected refuses a file that is in the way: it may be somebody's own.
func (p *puller) expected(it *item) error {
	st, err := os.Stat(it.target)
	if err != nil {
		return cannotWrite(it.target, err)
	}
	if !st.Mode().IsRegular() {
		return fault.New("unexpected_file", it.Path, "%s is no file; move it away and pull again", it.target)
	}
	if st.Size() != it.facts.Size {
		return fault.New("unexpected_file", it.Path, "%s has %d bytes and the published file has %d. It is left as it is: move it away, or delete it if it is a part of a download, and pull again",
			it.target, st.Size(), it.facts.Size)
	}
	return nil
}

// settle brings one file into its place.
func (p *puller) settle(ctx context.Context, it *item) error {
	switch it.place {
	case recorded:
		return nil
	case present:
		sum, err := p.check(ctx, it, it.target)
		if err != nil {
			return err
		}
		if sum == "" {
			return fault.New("unexpected_file", it.Path, "%s has the published file's size and other bytes. It is left as it is: delete it, or move it away, and pull again", it.target)
		}
		return p.keep(it, sum)
	case inCache:
		return p.link(ctx, it)
	}
	return p.fetch(ctx, it)
}

// link makes a file of a cache appear in its place. A large one is not read: its size and its blob's name were right.
func (p *puller) link(ctx context.Context, it *item) error {
	sum := it.facts.SHA256
	if sum == "" {
		var err error
		if sum, err = p.check(ctx, it, it.cache); err != nil {
			return err
		}
		if sum == "" {
			p.log.Warn().Msgf("%s has the right size and other bytes than published; it is fetched instead.", it.cache)
			it.place = nowhere
			return p.fetch(ctx, it)
		}
	}
	if err := os.MkdirAll(filepath.Dir(it.target), 0o755); err != nil {
		return cannotWrite(filepath.Dir(it.target), err)
	}
	// The link gets its name by renaming, because a link that leads nowhere may have it.
	if err := removeIfThere(it.target + newLink); err != nil {
		return err
	}
	if err := os.Symlink(linkTo(p.layout.Root, it.target, it.cache), it.target+newLink); err != nil {
		return cannotWrite(it.target, err)
	}
	if err := os.Rename(it.target+newLink, it.target); err != nil {
		return cannotWrite(it.target, err)
	}
	return p.keep(it, sum)
}

// keep records a file that is in its place, and removes what an earlier pull left beside it.
func (p *puller) keep(it *item, sum string) error {
	for _, left := range []string{it.target + incomplete, it.target + parts} {
		if err := removeIfThere(left); err != nil {
			return err
		}
	}
	return p.record.add(it.File, it.facts.Size, sum)
}

// check returns the SHA-256 of a file if it is the one that the hub promised, and nothing if it is another.
func (p *puller) check(ctx context.Context, it *item, name string) (sum string, err error) {
	sum, blob, err := digest(ctx, name, it.facts.Git != "", func(bytes int64) { it.tell(Checking, bytes) })
	if err != nil {
		if ctx.Err() != nil {
			return "", err
		}
		return "", fault.New("volume_failed", it.Path, "%s cannot be read; check the volume", name).Because(cause(err))
	}
	if sum != it.facts.SHA256 && (it.facts.Git == "" || blob != it.facts.Git) || it.SHA256 != "" && sum[:len(it.SHA256)] != it.SHA256 {
		return "", nil
	}
	return sum, nil
}

func (p *puller) count(it *item) {
	p.summary.Files++
	p.summary.Bytes += it.facts.Size
	switch it.place {
	case recorded, present:
		p.summary.Found++
	case inCache:
		p.summary.Linked++
	}
}
