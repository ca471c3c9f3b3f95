package handler

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"

	"github.com/humo-worker/humo-worker/handler/fetch"
	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/fault"
)

// Config are the endpoint's settings for jobs.
type Config struct {
	// Variant is the model size of jobs that do not say: 1.7B or 17B. Empty: the configuration file's, then 1.7B.
	Variant inference.Variant `env:"HUMO_VARIANT"`

	// File is a configuration file with defaults for the fields of jobs, as ReadDefaults takes it. Empty: none.
	File string `env:"HUMO_CONFIG"`

	// InputRoot is the folder that "volume:" sources lie in. Empty: such sources are refused.
	InputRoot string `env:"HUMO_INPUT_ROOT"`

	// Tmp is the folder for the temporary files of jobs. Empty: humo-worker in the system's temporary folder.
	Tmp string `env:"HUMO_TMP"`

	// Fetch are the settings for sources that are URLs, and for addresses that jobs bring to put results to.
	Fetch fetch.Config

	// OwnBucketOnly refuses jobs that bring a bucket or an address of their own for the result.
	OwnBucketOnly bool `env:"HUMO_OWN_BUCKET_ONLY"`

	// ManifestPrompts puts the prompts themselves into manifests, beside their hashes.
	ManifestPrompts bool `env:"HUMO_MANIFEST_PROMPTS"`

	// CheckpointEvery is how many denoising steps lie between two checkpoints of a clip, which are stored beside its result
	// until it is done: the same job, given out again after its worker died, goes on from there. 0: none.
	CheckpointEvery int `env:"HUMO_CHECKPOINT_EVERY" envDefault:"10"`

	// RequireBucket refuses jobs whose result would lie in a folder of this machine, where nobody who sent it through a
	// queue could fetch it. Whoever takes jobs from one sets it; no variable does.
	RequireBucket bool

	// Version is the program's, for manifests.
	Version string

	defaults *Defaults // of File
}

// TmpDir is the folder for temporary files to use.
func (c Config) TmpDir() string { return cmp.Or(c.Tmp, filepath.Join(os.TempDir(), "humo-worker")) }

// Validate reports the settings that cannot work, by their names.
func (c Config) Validate() error {
	var problems []error
	if _, ok := defaultScales[c.Variant]; !ok && c.Variant != "" {
		problems = append(problems, fault.New("invalid_setting", "HUMO_VARIANT",
			"is %.40q; set it to %s or %s", c.Variant, inference.Variant1B, inference.Variant17B))
	}
	if info, err := os.Stat(c.InputRoot); c.InputRoot != "" && (err != nil || !info.IsDir()) {
		problems = append(problems, fault.New("invalid_setting", "HUMO_INPUT_ROOT",
			"%s is no folder; name the folder that volume: sources lie in, or unset it", c.InputRoot))
	}
	if c.CheckpointEvery < 0 {
		problems = append(problems, fault.New("invalid_setting", "HUMO_CHECKPOINT_EVERY", "is %d; set it to a number of steps, or 0 for none", c.CheckpointEvery))
	}
	if c.File != "" {
		_, err := ReadDefaults(c.File)
		problems = append(problems, err)
	}
	return errors.Join(append(problems, c.Fetch.Validate())...)
}

// open reads the configuration file.
func (c Config) open() (Config, error) {
	if err := c.Validate(); err != nil || c.File == "" {
		return c, err
	}
	var err error
	c.defaults, err = ReadDefaults(c.File)
	return c, err
}

// Cards is over how many cards the configuration file spreads a clip: the original's dit.sp_size. 0: it does not say.
func (c Config) Cards() (int, error) {
	c, err := c.open()
	if err != nil || c.defaults == nil {
		return 0, err
	}
	return c.defaults.cards, nil
}

// base is a request that says nothing.
func (c Config) base() Request {
	if c.defaults == nil {
		return defaults(cmp.Or(c.Variant, inference.Variant1B))
	}
	base := c.defaults.request
	base.Variant = cmp.Or(c.Variant, base.Variant, inference.Variant1B)
	return base
}
