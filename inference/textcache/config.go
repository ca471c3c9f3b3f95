package textcache

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// Config says where embeddings are kept between runs. Its zero value keeps them in memory only.
type Config struct {
	// Folder is where the embeddings of recent prompts lie. auto: humo-worker/embeddings in XDG_CACHE_HOME, else in
	// ~/.cache. none, or empty where no default applies: in memory only. Embeddings are as private as the prompts they
	// were made of: the folder and its files are for this user alone.
	Folder string `env:"HUMO_CACHE" envDefault:"auto"`

	// Megabytes bounds the folder; the least recently used files go first. 0: in memory only.
	Megabytes int `env:"HUMO_CACHE_MB" envDefault:"512"`
}

// Dir is the folder to use; empty if there is none.
func (c Config) Dir() string {
	switch strings.ToLower(c.Folder) {
	case "", "none":
		return ""
	case "auto":
		base := os.Getenv("XDG_CACHE_HOME")
		if !filepath.IsAbs(base) { // the XDG specification says to ignore a relative one
			home, err := os.UserHomeDir()
			if err != nil {
				return ""
			}
			base = filepath.Join(home, ".cache")
		}
		return filepath.Join(base, "humo-worker", "embeddings")
	}
	return c.Folder
}

// Validate reports a setting that cannot be right.
func (c Config) Validate() error {
	const limit = 1 << 20
	if c.Megabytes < 0 || c.Megabytes > limit {
		return fault.New("invalid_setting", "HUMO_CACHE_MB", "%d is outside 0…%d megabytes; 0 keeps embeddings in memory only", c.Megabytes, limit)
	}
	dir := c.Dir()
	if info, err := os.Stat(dir); dir != "" && err == nil && !info.IsDir() {
		return fault.New("invalid_setting", "HUMO_CACHE", "%s is not a folder; name one, or set none", dir)
	}
	return nil
}
