package weights

import (
	"context"
	"fmt"
	"io"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// WriteSynthetic writes a checkpoint set of any size, made like the demo bundle's, below dir: PublishedDims give the
// real names, shapes and file formats. Tensors are made while they are written, so it needs little memory; it does need
// the disk space. ctx stops it within a tensor; files that are complete by then stay. It refuses a folder that holds any
// published file.
func WriteSynthetic(ctx context.Context, dir string, d Dims) error {
	l := Locate(dir)
	if found := l.holdsPublished(); found != "" {
		return wouldReplace("synthetic weights", l, found)
	}
	list, err := parts(d)
	if err != nil {
		return err
	}
	for _, p := range list {
		stoppable := part{p.path, func(w io.Writer) error { return p.write(contextWriter{ctx, w}) }}
		if _, _, err := stoppable.put(l.Root, false); err != nil {
			return fmt.Errorf("write %s: %w", l.Path(p.path), err)
		}
	}
	return nil
}

// contextWriter writes until its context ends.
type contextWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c contextWriter) Write(b []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.w.Write(b)
}

func wouldReplace(what string, l Layout, found string) error {
	return fault.New("weights_exist", "dir", "%s holds %s, which this command did not write; choose an empty folder for the %s",
		l.Root, found, what)
}
