package weights

import (
	"os"
	"path/filepath"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// Config says where the weights lie.
type Config struct {
	// Root is the folder that holds the published layout (HuMo/, Wan2.1-T2V-1.3B/, whisper-large-v3/). Empty: CacheDir,
	// then the first default that exists.
	Root string `env:"HUMO_WEIGHTS"`

	// CacheDir is another name for Root, which the original worker's templates set. Root wins.
	CacheDir string `env:"MODEL_CACHE_DIR"`

	// Packed is bf16 or fp16: the copy of the transformer that "weights pack" made is used where it is there, whole and made
	// of the file that is there. Its numbers are rounded, so clips are no longer the reference's to the last bit. off, the
	// default: the published file is used.
	Packed string `env:"HUMO_PACKED"`
}

// defaultRoots are tried in this order when nothing is set: RunPod's network volume, then the reference's own folder.
var defaultRoots = []string{"/runpod-volume/humo", "weights"}

// Dir is the weights folder to use, absolute where the working directory is known. It need not exist.
func (c Config) Dir() string {
	dir := c.Root
	if dir == "" {
		dir = c.CacheDir
	}
	for _, d := range defaultRoots {
		if dir != "" {
			break
		}
		if st, err := os.Stat(d); err == nil && st.IsDir() {
			dir = d
		}
	}
	if dir == "" {
		dir = defaultRoots[len(defaultRoots)-1]
	}
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir
}

// Validate refuses a setting that can never be right. A folder that does not exist yet is no error here: Require says
// what is missing in it and how to fetch it.
func (c Config) Validate() error {
	if err := c.validatePacked(); err != nil {
		return err
	}
	name, dir := "HUMO_WEIGHTS", c.Root
	if dir == "" {
		name, dir = "MODEL_CACHE_DIR", c.CacheDir
	}
	if dir == "" {
		return nil
	}
	if st, err := os.Stat(dir); err == nil && !st.IsDir() {
		return fault.New("invalid_setting", name, "%s is not a folder; name the folder that holds HuMo/, %s/ and %s/",
			dir, wanFolder, whisperFolder)
	}
	return nil
}
