package inference

import (
	"github.com/humo-worker/humo-worker/inference/media"
	"github.com/humo-worker/humo-worker/inference/sampler"
)

// Variant is the size of the HuMo model, Mode what steers a clip besides the prompt.
type (
	Variant = sampler.Variant
	Mode    = sampler.Mode
	Quality = sampler.Quality
)

// The published variants and the reference's modes: TA is text + audio, TIA is text + image + audio.
const (
	Variant1B  = sampler.Variant1_7B
	Variant17B = sampler.Variant17B
	TA         = sampler.ModeTA
	TIA        = sampler.ModeTIA
	Exact      = sampler.Exact
	Balanced   = sampler.Balanced
	Fast       = sampler.Fast
)

// Spec is one clip to make. The caller has checked it (handler.Request); Generate checks what only the engine knows.
type Spec struct {
	Variant        Variant
	Mode           Mode
	Prompt         string
	NegativePrompt string   // empty: the reference's default
	AudioPath      string   // local file, any format ffmpeg's whitelist decodes
	ImagePaths     []string // TIA: 1–8 local pictures; TA: none

	// IsolateVocals lets the audio encoder hear the voices only, without the music behind them. The clip's sound stays
	// the file at AudioPath, as it is.
	IsolateVocals bool

	Frames int // 0: the length of the audio; rounded down to 4k+1 as the reference does
	Width  int // multiple of 16
	Height int // multiple of 16
	FPS    int

	Steps int
	Shift float64
	Seed  uint64

	ScaleT float64 // text guidance scale
	ScaleA float64 // audio guidance scale
	ScaleI float64 // image guidance scale, read by 1.7B TIA only

	StepChange int // 17B TIA: the timestep at which guidance switches; 0: the reference's 980

	// Quality Balanced leaves passes out where they count least, Fast is one pass, without guidance, of a 17B that a LoRA has
	// distilled; "": Exact.
	Quality Quality
	LoRAs   []LoRA // beside the transformer's layers; Fast without any takes the distilled one of the LoRA folder

	// Material is what lies at AudioPath and ImagePaths, from a caller that has decoded it; nil: Generate does. The file at
	// AudioPath is read once more in any case, for the clip's sound.
	Material *Material

	// What a caller may follow, or carry over from a run that was broken off. All optional; the funcs are called between
	// two steps and must not block.
	PreviewEvery int                              // steps between previews; 0: none
	Preview      func(step int, p *media.Picture) // the middle frame as it looks so far, one pixel for each latent pixel
	SaveEvery    int                              // steps between checkpoints; 0: none
	Save         func(c *Checkpoint)
	Resume       *Checkpoint // go on from here; ignored if it is another clip's

	CRF        int
	OutputPath string // the mp4; written under a temporary name and renamed
}

// Stage names a part of the work, in the order they run.
type Stage string

// The stages of a clip.
const (
	StageText    Stage = "text"    // prompts to embeddings
	StageAudio   Stage = "audio"   // voice track to audio windows
	StageImage   Stage = "image"   // reference pictures to latents
	StageDenoise Stage = "denoise" // the diffusion transformer, passes × steps
	StageDecode  Stage = "decode"  // latents to frames
	StageEncode  Stage = "encode"  // frames and sound to mp4
)

// Progress is what an observer of Generate sees: Step of Steps within Stage, Step counted from 0 when the stage
// starts. Denoise counts passes, so that a bar moves evenly.
type Progress struct {
	Stage Stage
	Step  int
	Steps int
}

// Clip is a finished video.
type Clip struct {
	Path     string
	Frames   int
	FPS      int
	Width    int
	Height   int
	Duration float64 // seconds
	Seed     uint64
	LoRAs    []LoRA // that made it, with the hashes of their files
	Passes   Passes
	Linear   Linear            // numbers of the transformer's linear layers
	Timings  map[Stage]float64 // seconds
	Compute  float64           // seconds of all stages in which ONNX Runtime ran a network, for this clip or one made beside it
	Seconds  float64           // from the call of Generate until the file was there
}

// Outside is the time in which ONNX Runtime ran no network, in seconds and as a part of the whole: 0.02 is two hundredths.
func (c *Clip) Outside() (seconds, share float64) {
	if seconds = max(0, c.Seconds-c.Compute); c.Seconds > 0 {
		share = seconds / c.Seconds
	}
	return seconds, share
}

// Passes says what became of the calls of the transformer that the plan of a clip has, passes × steps.
type Passes struct {
	Run    int `json:"run"`
	Reused int `json:"reused"` // of steps whose velocity came from an earlier one (sampler.Reuse)
	Gated  int `json:"gated"`  // left out of late steps (sampler.BalancedGate)
}
