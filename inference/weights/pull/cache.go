package pull

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/humo-worker/humo-worker/inference/weights"
)

// cached finds a file in the caches of the hub's client, or of RunPod, which have one layout: models--ORG--NAME, and in it
// snapshots/COMMIT with the repository's files, mostly links to blobs that are named by their digest. What is there must
// be of the pinned commit and have the right size, and the blob the right name.
func cached(caches []string, f weights.File, want facts) (name string, ok bool) {
	for _, dir := range caches {
		name := filepath.Join(dir, "models--"+strings.ReplaceAll(f.Repo, "/", "--"), "snapshots", f.Revision, filepath.FromSlash(f.Source))
		st, err := os.Stat(name)
		if err != nil || !st.Mode().IsRegular() || st.Size() != want.Size {
			continue
		}
		if blob, err := filepath.EvalSymlinks(name); err != nil || !want.mayBe(filepath.Base(blob)) {
			continue
		}
		return name, true
	}
	return "", false
}

// mayBe holds the name of a blob against the digest. A file that is no blob has a name of its own, which says nothing.
func (f facts) mayBe(name string) bool {
	return !hexadecimal.MatchString(name) || name == f.SHA256 || name == f.Git
}

// linkTo is what a link in the layout's folder says. When the cache lies beside the root, as on a RunPod volume, the link is
// relative: pods and serverless workers mount one volume at different places.
func linkTo(root, link, file string) string {
	parent := filepath.Dir(root) + string(filepath.Separator)
	if parent != "//" && strings.HasPrefix(file, parent) {
		if rel, err := filepath.Rel(filepath.Dir(link), file); err == nil {
			return rel
		}
	}
	return file
}
