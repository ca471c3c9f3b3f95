package media

import (
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/sandbox"
)

// Config are the settings of this room.
type Config struct {
	// Patience is how long a program that reads or writes media may stand still before it is ended: an ffmpeg that hangs on
	// a file, or on a folder that does not answer.
	Patience time.Duration `env:"HUMO_MEDIA_PATIENCE" envDefault:"60s"`
}

// Validate reports the settings that cannot work, by their names.
func (c Config) Validate() error {
	if c.Patience < time.Second {
		return fault.New("invalid_setting", "HUMO_MEDIA_PATIENCE", "is %s; set it to 1s or more", c.Patience)
	}
	return nil
}

var patience atomic.Int64

func init() { patience.Store(int64(time.Minute)) }

// Use sets the settings for this process. Without it the defaults hold.
func Use(c Config) { patience.Store(int64(c.Patience)) }

func patient() time.Duration { return time.Duration(patience.Load()) }

const mebibyte = 1 << 20

// The limits follow from what a job may hold, several times over: they are for files that were made to harm, and for
// decoders that lose their way. Reading ten minutes of the most expensive sound takes seconds and 100 MB; a picture in a
// file of 100 MB of sound comes on top.
const (
	soundMemory = 1024 * mebibyte
	soundCPU    = 120 * time.Second
	scratchSize = mebibyte // files that nobody asked for
)

// reading is the policy of a program that reads a file and writes to pipes.
func reading(path string) (abs string, p sandbox.Policy, err error) {
	abs, err = filepath.Abs(path)
	p = piping()
	p.Read, p.Folder = []string{abs}, filepath.Dir(abs)
	return abs, p, err
}

// piping is the policy of a program that reads and writes pipes.
func piping() sandbox.Policy {
	return sandbox.Policy{Memory: soundMemory, CPU: soundCPU, FileSize: scratchSize, Patience: patient()}
}

// encoding is the policy of the program that writes a clip to the file at path. x264 holds some hundred frames; a frame in
// the file is never larger than its RGB; noise at 2048x2048 takes about a second of one core.
func (s VideoSpec) encoding(path string) sandbox.Policy {
	pixels := int64(s.Width) * int64(s.Height)
	p := sandbox.Policy{
		Write:    []string{path},
		Folder:   filepath.Dir(path),
		Memory:   1024*mebibyte + 800*pixels,
		CPU:      5*time.Minute + time.Duration(float64(s.Frames)*(0.1+4e-6*float64(pixels))*float64(time.Second)),
		FileSize: 64*mebibyte + 3*pixels*int64(s.Frames),
		Patience: patient(),
	}
	if s.Audio != nil {
		p.Read = []string{s.Audio.path}
	}
	return p
}
