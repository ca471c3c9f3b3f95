package handler

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/fault"
)

// Config are the endpoint's settings for jobs.
type Config struct {
	// Variant is the model size of jobs that do not say: 1.7B or 17B.
	Variant inference.Variant `env:"HUMO_VARIANT" envDefault:"1.7B"`

	// InputRoot is the folder that "volume:" sources lie in. Empty: such sources are refused.
	InputRoot string `env:"HUMO_INPUT_ROOT"`

	// Tmp is the folder for the temporary files of jobs. Empty: humo-worker in the system's temporary folder.
	Tmp string `env:"HUMO_TMP"`
}

// TmpDir is the folder for temporary files to use.
func (c Config) TmpDir() string { return cmp.Or(c.Tmp, filepath.Join(os.TempDir(), "humo-worker")) }

// Validate reports the settings that cannot work, by their names.
func (c Config) Validate() error {
	var problems []error
	if _, ok := defaultScales[c.Variant]; !ok {
		problems = append(problems, fault.New("invalid_setting", "HUMO_VARIANT",
			"is %.40q; set it to %s or %s", c.Variant, inference.Variant1B, inference.Variant17B))
	}
	if info, err := os.Stat(c.InputRoot); c.InputRoot != "" && (err != nil || !info.IsDir()) {
		problems = append(problems, fault.New("invalid_setting", "HUMO_INPUT_ROOT",
			"%s is no folder; name the folder that volume: sources lie in, or unset it", c.InputRoot))
	}
	return errors.Join(problems...)
}
