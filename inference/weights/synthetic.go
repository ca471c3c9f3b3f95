package weights

import (
	"fmt"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// WriteSynthetic writes a checkpoint set of any size, made like the demo bundle's, below dir: PublishedDims give the
// real names, shapes and file formats. Tensors are made while they are written, so it needs little memory; it does need
// the disk space. It refuses a folder that holds any published file.
func WriteSynthetic(dir string, d Dims) error {
	l := Locate(dir)
	if found := l.holdsPublished(); found != "" {
		return wouldReplace("synthetic weights", l, found)
	}
	list, err := parts(d)
	if err != nil {
		return err
	}
	for _, p := range list {
		if _, _, err := p.put(l.Root, false); err != nil {
			return fmt.Errorf("write %s: %w", l.Path(p.path), err)
		}
	}
	return nil
}

func wouldReplace(what string, l Layout, found string) error {
	return fault.New("weights_exist", "dir", "%s holds %s, which this command did not write; choose an empty folder for the %s",
		l.Root, found, what)
}
