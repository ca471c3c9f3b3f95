package pull

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// The names of what lies beside a file while it arrives.
const (
	incomplete = ".incomplete"       // the bytes, at their places
	parts      = ".incomplete.parts" // the journal
	newLink    = ".link"             // to a cache
)

// download is one file on its way.
type download struct {
	*puller
	*item
	source  source
	data    *os.File
	journal *journal
}

// fetch brings a file into its place: what is missing of it arrives in parts, the whole is checked, and only then does it
// get its name. Wrong bytes are fetched once more.
func (p *puller) fetch(ctx context.Context, it *item) error {
	d, err := p.begin(it)
	if err != nil {
		return err
	}
	defer d.close()
	for wrong, damaged := 0, 0; ; {
		if err := d.arrive(ctx); err != nil {
			return err
		}
		sum, err := p.check(ctx, it, d.data.Name())
		if err != nil {
			return err
		}
		if sum != "" {
			return d.finish(sum)
		}
		// Either the disk lost blocks, which the journal knows, or the wrong ones were sent.
		n, err := d.journal.compare(d.data)
		switch {
		case err != nil:
			return cannotWrite(d.data.Name(), err)
		case n > 0 && damaged < 3:
			damaged++
			p.log.Warn().Str("file", it.Path).Msgf("%d of its blocks are not on the disk as they were written; fetching them again.", n)
		case n > 0:
			return fault.New("volume_failed", it.Path, "%s reads differently from what was written to it; check the volume", d.data.Name())
		case wrong == 0:
			wrong++
			p.log.Warn().Str("file", it.Path).Msg("What arrived is not the published file; fetching it again.")
			if err := d.journal.reset(); err != nil {
				return cannotWrite(it.target+parts, err)
			}
		default:
			d.drop()
			return fault.New("bad_download", it.Path, "what arrives is not the published file, twice in a row, and was removed. A proxy or a mirror may change it: check HF_ENDPOINT, and run the same command again").Again()
		}
	}
}

// begin opens the files beside the target, and what is left from an earlier try.
func (p *puller) begin(it *item) (*download, error) {
	if err := os.MkdirAll(filepath.Dir(it.target), 0o755); err != nil {
		return nil, cannotWrite(filepath.Dir(it.target), err)
	}
	j, err := openJournal(it.target+parts, p.heading(it))
	if err != nil {
		return nil, cannotWrite(it.target+parts, err)
	}
	_, lost := os.Stat(it.target + incomplete)
	data, err := os.OpenFile(it.target+incomplete, os.O_RDWR|os.O_CREATE, 0o644)
	if err == nil && lost != nil {
		err = j.reset()
	}
	if err != nil {
		_ = j.close()
		return nil, cannotWrite(it.target+incomplete, err)
	}
	return &download{puller: p, item: it, source: source{file: it.File, size: it.facts.Size}, data: data, journal: j}, nil
}

func (p *puller) heading(it *item) heading {
	return heading{it.Repo, it.Revision, it.Source, it.facts, p.limits.block}
}

func (d *download) close() {
	_ = d.data.Close()
	_ = d.journal.close()
}

// drop removes what has arrived.
func (d *download) drop() {
	_ = os.Remove(d.target + incomplete)
	_ = os.Remove(d.target + parts)
}

// arrive fetches the missing blocks, a request for each part of neighbours. The slots are those of all files.
func (d *download) arrive(ctx context.Context) error {
	d.tell(Fetching, d.journal.arrived())
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(d.limits.connections)
	for _, s := range d.journal.missing(int(max(d.limits.part/d.limits.block, 1))) {
		g.Go(func() error {
			select {
			case d.slots <- struct{}{}:
				defer func() { <-d.slots }()
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			return d.hub.persist(ctx, d.Path, func() (moved bool, err error) {
				from := s.from
				err = d.read(ctx, &s)
				return s.from > from, err
			})
		})
	}
	return g.Wait()
}

// read fetches a part, and moves the part's begin with every block that is written and noted.
func (d *download) read(ctx context.Context, s *span) error {
	size := d.journal.heading.Block
	body, err := d.hub.open(ctx, &d.source, int64(s.from)*size, min(int64(s.to)*size, d.facts.Size))
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	buffer := d.buffers.Get().(*[]byte)
	defer d.buffers.Put(buffer)
	for s.from < s.to {
		b := (*buffer)[:d.journal.sizeOf(s.from)]
		if _, err := io.ReadFull(body, b); err != nil {
			d.source.learn(nil, "")
			return &again{fmt.Errorf("the connection broke: %w", err)}
		}
		if _, err := d.data.WriteAt(b, int64(s.from)*size); err != nil {
			return cannotWrite(d.data.Name(), err)
		}
		if err := d.journal.note(s.from, checksum(b)); err != nil {
			return cannotWrite(d.target+parts, err)
		}
		s.from++
		d.fetched.Add(int64(len(b)))
		d.tell(Fetching, d.journal.arrived())
	}
	return nil
}

// finish gives the file its name. A file that somebody put there meanwhile is left alone.
func (d *download) finish(sum string) error {
	if err := d.data.Sync(); err != nil {
		return cannotWrite(d.data.Name(), err)
	}
	if !vacant(d.target) {
		return fault.New("unexpected_file", d.Path, "%s appeared during the download and is left as it is; what arrived is in %s", d.target, d.data.Name())
	}
	if err := os.Rename(d.data.Name(), d.target); err != nil {
		return cannotWrite(d.target, err)
	}
	syncFolder(d.target)
	return d.keep(d.item, sum)
}
