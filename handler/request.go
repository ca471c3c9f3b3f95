package handler

import (
	"github.com/humo-worker/humo-worker/inference"
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

	Steps  int
	Shift  float64
	Seed   uint64
	Scales Scales

	Output Output
	DryRun bool
}

// Scales weigh what guides a clip.
type Scales struct {
	Text, Audio, Image float64
}

// Output says how the video is written.
type Output struct {
	CRF int // x264's constant rate factor
}

// The limits of a request. Sizes and step counts within them may still be more than a machine's memory or patience.
const (
	MaxPrompt   = 5000 // characters; the text encoder reads the first 512 tokens
	MaxImages   = 8
	MaxFrames   = 1000
	MaxFPS      = 60
	MaxSteps    = 250
	MaxScale    = 100
	SizeStep    = 16 // the video codec's 8 times the transformer's patch of 2
	MaxSize     = 2048
	MinCRF      = 1
	MaxCRF      = 51
	maxSeedText = "18446744073709551615"
)

// defaults are those of the reference's configuration, but for the size, which is that of its scripts, and the seed,
// which is drawn.
func defaults(variant inference.Variant) Request {
	return Request{
		Variant: variant,
		Frames:  97, Width: 832, Height: 480, FPS: 25,
		Steps: 50, Shift: 5,
		Output: Output{CRF: 18},
	}
}

// defaultScales are the guidance scales of the reference's configuration files.
var defaultScales = map[inference.Variant]Scales{
	inference.Variant1B:  {Text: 7.5, Audio: 7.5, Image: 4},
	inference.Variant17B: {Text: 5, Audio: 5.5, Image: 4}, // the 17B model does not read the image scale
}
