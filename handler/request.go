package handler

import (
	"encoding/json"
	"time"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/sampler"
	"github.com/humo-worker/humo-worker/storage"
)

// Request is the input of a job, checked and with its defaults filled in. The JSON names are in fields.
type Request struct {
	Mode           inference.Mode
	Variant        inference.Variant
	Prompt         string
	NegativePrompt string // empty: the reference's
	Audio          Source
	Images         []Source

	Frames int // 0: the length of the audio
	Width  int
	Height int
	FPS    int

	Steps      int
	Shift      float64
	Seed       uint64
	Scales     Scales
	StepChange int

	IsolateVocals bool

	Quality inference.Quality
	LoRAs   []inference.LoRA

	Preview int // steps between previews; 0: none

	Output Output
	DryRun bool

	drawnSeed bool // nobody asked for this seed

	bucket *storage.S3Config // the job's own, from beside its input; nil: the endpoint's

	// asked holds the fields as the caller gave them, by their names in the contract.
	asked map[string]json.RawMessage
}

// Scales weigh what guides a clip.
type Scales struct {
	Text, Audio, Image float64
}

// Output says how the video is written, and where to.
type Output struct {
	CRF       int           // x264's constant rate factor
	UploadURL string        // a presigned PUT for the video, a secret; empty: the store
	ExpiresIn time.Duration // of the result's URLs; 0: the store's own
}

// The limits of a request. Sizes and step counts within them may still be more than a machine's memory or patience.
const (
	MaxPrompt   = 5000 // characters; the text encoder reads the first 512 tokens
	MaxImages   = 8
	MaxFrames   = 1000
	MaxFPS      = 60
	MaxSteps    = 250
	MinShift    = 0.1
	MaxShift    = 100
	MaxScale    = 100
	MaxChange   = 1000 // timesteps of the training schedule
	SizeStep    = 16   // the video codec's 8 times the transformer's patch of 2
	MaxSize     = 2048
	MinCRF      = 1
	MaxCRF      = 51
	MaxURL      = 8192 // characters
	MaxLoRAs    = 4
	MaxStrength = 4 // strength of a LoRA, either way
	maxSeed     = "18446744073709551615"
)

// defaults are those of the reference's configuration, but for the size, which is that of its scripts, and the seed,
// which is drawn.
func defaults(variant inference.Variant) Request {
	return Request{
		Variant: variant,
		Frames:  97, Width: 832, Height: 480, FPS: 25,
		Steps: 50, Shift: 5, StepChange: sampler.DefaultStepChange,
		Quality: inference.Exact,
		Output:  Output{CRF: 18},
	}
}

// defaultScales are the guidance scales of the reference's configuration files.
var defaultScales = map[inference.Variant]Scales{
	inference.Variant1B:  {Text: 7.5, Audio: 7.5, Image: 4},
	inference.Variant17B: {Text: 5, Audio: 5.5, Image: 4}, // the 17B model does not read the image scale
}
