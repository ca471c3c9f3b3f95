package pull

import (
	"cmp"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// DefaultEndpoint is where the files are published.
const DefaultEndpoint = "https://huggingface.co"

// runpodCache is where RunPod puts the repository that an endpoint names as its model, in the hub's own cache layout.
const runpodCache = "/runpod-volume/huggingface-cache/hub"

// Config are the settings of the hub's own client, under their names.
type Config struct {
	// Endpoint is the hub, or a mirror that speaks like it. Empty: DefaultEndpoint.
	Endpoint string `env:"HF_ENDPOINT"`

	// Token is sent to the endpoint, and to nobody else. The published repositories need none.
	Token string `env:"HF_TOKEN"`

	// Home is the folder of the hub's client; its hub/ is looked into like Cache.
	Home string `env:"HF_HOME"`

	// Cache is a cache of the hub's client. Files that it holds are used in place. Empty: that of Home, then of the user.
	Cache string `env:"HF_HUB_CACHE"`

	limits limits // tests scale them down; zero: the standard ones
}

// Validate refuses an endpoint that is no address.
func (c Config) Validate() error {
	_, err := c.endpoint()
	return err
}

func (c Config) endpoint() (*url.URL, error) {
	u, err := url.Parse(cmp.Or(c.Endpoint, DefaultEndpoint))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fault.New("invalid_setting", "HF_ENDPOINT", "is not the address of a hub; write it like %s, or unset it", DefaultEndpoint)
	}
	return u, nil
}

// caches are the folders in the layout of the hub's client in which a file may lie already.
func (c Config) caches() []string {
	own := c.Cache
	if own == "" && c.Home != "" {
		own = filepath.Join(c.Home, "hub")
	}
	if user, err := os.UserCacheDir(); own == "" && err == nil {
		own = filepath.Join(user, "huggingface", "hub")
	}
	if abs, err := filepath.Abs(own); own != "" && err == nil {
		return []string{abs, runpodCache}
	}
	return []string{runpodCache}
}

// limits say how much is done at a time and how long it is tried.
type limits struct {
	connections int           // to the hub and where it sends us, all files together
	files       int           // under way at once, so that one is checked while the next arrives
	part        int64         // bytes that one request asks for
	block       int64         // bytes that are written and noted at once; what an interruption can lose, per connection
	tries       int           // that bring no new block, before a file is given up
	pause       time.Duration // after the first of them; doubled after each, up to longest
	longest     time.Duration
	patience    time.Duration // the longest wait that the hub may ask for
	silence     time.Duration // after which a connection on which nothing moves is given up
}

var standard = limits{
	connections: 8, files: 3, part: 64 << 20, block: 1 << 20, tries: 10, pause: 500 * time.Millisecond, longest: 30 * time.Second,
	patience: 15 * time.Minute, silence: time.Minute,
}
