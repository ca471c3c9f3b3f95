package weights

import (
	"path"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// allVariants is what Wanted calls both of them.
const allVariants = "all"

// Wanted returns the rows of the table to fetch for variant ("1.7B", "17B" or "all"), with the vocal separator or
// without. The files that only the reference opens are among them: they are 5 MB, and with them the folder serves the
// reference too. The shards of an index are no rows; see File.Shards.
func Wanted(variant string, separator bool) ([]File, error) {
	if variant != variant1B && variant != variant17B && variant != allVariants {
		return nil, fault.New("unknown_variant", "variant", "%q is no published variant; use %s, %s or %s",
			variant, variant1B, variant17B, allVariants)
	}
	var rows []File
	for _, f := range published {
		if f.Variant != "" && f.Variant != variant && variant != allVariants || f.Need == OnDemand && !separator {
			continue
		}
		rows = append(rows, f)
	}
	return rows, nil
}

// Shards returns a row for every file that the index f, of which file is a copy, names. Their sizes and digests are not
// known here.
func (f File) Shards(file string) ([]File, error) {
	names, err := shardsOf(file)
	if err != nil {
		return nil, err
	}
	rows := make([]File, len(names))
	for i, name := range names {
		rows[i] = File{
			Path: path.Join(path.Dir(f.Path), name), Repo: f.Repo, Revision: f.Revision, Source: path.Join(path.Dir(f.Source), name),
			Need: f.Need, Variant: f.Variant, Purpose: "a shard of the diffusion transformer",
		}
	}
	return rows, nil
}
