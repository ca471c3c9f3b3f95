package checkpoint

import (
	"maps"
	"path/filepath"
	"slices"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// maxShardIndex bounds the JSON of a safetensors index; the largest public ones have a few hundred kB.
const maxShardIndex = 16 << 20

// readShards reads a safetensors index and the headers of all shards that its weight_map names. Their names come from
// there, never from a pattern. All missing shards are reported in one error, and so are all missing tensors; tensors
// that a shard holds beyond the weight_map are listed like the others.
func readShards(f *file, dir string) (map[string]*Tensor, []string, error) {
	promised, err := parseWeightMap(f)
	if err != nil {
		return nil, nil, err
	}
	tensors := map[string]*Tensor{}
	var files, lostShards, lostTensors []string
	for _, shard := range slices.Sorted(maps.Keys(promised)) {
		// Lexically inside; the file itself may be a link, as it is in a content-addressed cache.
		if !filepath.IsLocal(shard) {
			return nil, nil, malformed("the shard %s lies outside the folder of the index", quote(shard))
		}
		part, file, err := readShard(filepath.Join(dir, shard))
		if fault.CodeOf(err) == CodeMissing {
			lostShards = append(lostShards, shard)
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		files = append(files, file)
		for name, t := range part {
			if other := tensors[name]; other != nil {
				return nil, nil, malformed("the tensor %s is in two shards, %s and %s", quote(name), other.File, t.File)
			}
			tensors[name] = t
		}
		for _, name := range promised[shard] {
			if part[name] == nil {
				lostTensors = append(lostTensors, name)
			}
		}
	}
	if len(lostShards) > 0 {
		return nil, nil, fault.New(CodeMissing, "", "%d of %d shards are missing beside the index: %s; fetch them",
			len(lostShards), len(promised), quoteSome(lostShards))
	}
	if len(lostTensors) > 0 {
		return nil, nil, fault.New(CodeMissing, "", "%d tensors are not in the shards that the index places them in: %s; "+
			"index and shards do not belong together: fetch them again", len(lostTensors), quoteSome(lostTensors))
	}
	return tensors, files, nil
}

func readShard(path string) (tensors map[string]*Tensor, file string, err error) {
	f, done, err := openFile(path)
	if err != nil {
		return nil, "", err
	}
	defer done()
	tensors, err = readSafetensors(f)
	return tensors, f.path, inFile(path, err)
}

// parseWeightMap returns the names of the tensors that the index places in each shard.
func parseWeightMap(f *file) (map[string][]string, error) {
	if f.size > maxShardIndex {
		return nil, malformed("the file starts like a safetensors index, but has %d bytes (at most %d)", f.size, maxShardIndex)
	}
	text, err := f.bytesAt(0, f.size, "the index")
	if err != nil {
		return nil, err
	}
	r, err := newJSONReader(text)
	if err != nil {
		return nil, err
	}
	promised := map[string][]string{}
	err = r.object(func(key string) error {
		if key != "weight_map" {
			return r.skip()
		}
		return r.object(func(name string) error {
			shard, err := r.string()
			promised[shard] = append(promised[shard], name)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	if len(promised) == 0 {
		return nil, malformed("the JSON names no tensor in a weight_map, so it is not a safetensors index")
	}
	return promised, r.end()
}
