package handler

import (
	"time"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/storage"
)

// field is one field of the contract. What parse accepts, what the schema says and what the messages name all come
// from here.
type field struct {
	name    string
	title   string   // for a form
	doc     string   // for people
	aliases []string // names in the original's configuration; a dot leads into an object
	setting bool     // an endpoint's configuration may set its default
	rule    rule
}

// fields are those of the contract, in its order.
var fields = []*field{
	{name: "mode", title: "Mode", aliases: []string{"generation.mode"}, setting: true,
		doc: "TA: text and audio. TIA: text, reference pictures and audio. Left out: TIA if there are pictures, else TA.",
		rule: choiceRule{func(r *Request, v string) { r.Mode = inference.Mode(v) },
			[]string{string(inference.TA), string(inference.TIA)}, ""}},
	{name: "variant", title: "Model", aliases: []string{"model.variant"}, setting: true,
		doc: "The size of the model. Left out: the endpoint's.",
		rule: choiceRule{func(r *Request, v string) { r.Variant = inference.Variant(v) },
			[]string{string(inference.Variant1B), string(inference.Variant17B)}, ""}},
	{name: "prompt", title: "Prompt",
		doc:  "What to see: the person, the place, the light. The model reads 512 tokens at most.",
		rule: promptRule{func(r *Request) *string { return &r.Prompt }, true}},
	{name: "negative_prompt", title: "Negative prompt", aliases: []string{"generation.sample_neg_prompt"}, setting: true,
		doc:  "What not to see. Left out: the reference's.",
		rule: promptRule{func(r *Request) *string { return &r.NegativePrompt }, false}},
	{name: "audio", title: "Voice", aliases: []string{"audio_path"},
		doc:  "The voice track: it moves the mouth, and is heard in the result.",
		rule: audioSourceRule{}},
	{name: "images", title: "Reference pictures", aliases: []string{"img_paths", "image_path"},
		doc:  "What the person (clothes, things, place) looks like; mode TIA. A single source is a list of one.",
		rule: imageSourcesRule{}},
	{name: "frames", title: "Frames", aliases: []string{"generation.frames"}, setting: true,
		doc:  `The length: a number, rounded down to 4k+1, or "auto", the length of the voice.`,
		rule: framesRule{}},
	{name: "width", title: "Width", aliases: []string{"generation.width"}, setting: true,
		doc: "In pixels.", rule: sizeRule{func(r *Request) *int { return &r.Width }}},
	{name: "height", title: "Height", aliases: []string{"generation.height"}, setting: true,
		doc: "In pixels. Portrait and square are fine.", rule: sizeRule{func(r *Request) *int { return &r.Height }}},
	{name: "fps", title: "Frames per second", aliases: []string{"generation.fps"}, setting: true,
		doc:  "The model was trained at 25.",
		rule: integerRule{func(r *Request) *int { return &r.FPS }, 1, MaxFPS, "the model was trained at 25"}},
	{name: "steps", title: "Steps", aliases: []string{"diffusion.timesteps.sampling.steps"}, setting: true,
		doc:  "Denoising steps. The most that work depend on shift: 250 at 5. With quality fast: 4 to 8, 6 if left out.",
		rule: integerRule{func(r *Request) *int { return &r.Steps }, 1, MaxSteps, ""}},
	{name: "shift", title: "Shift", aliases: []string{"diffusion.timesteps.sampling.shift"}, setting: true,
		doc:  "Shift of the noise schedule: more is more time spent on the large forms.",
		rule: numberRule{func(r *Request) *float64 { return &r.Shift }, MinShift, MaxShift, ""}},
	{name: "seed", title: "Seed", aliases: []string{"generation.seed"}, setting: true,
		doc:  "Of the noise: the same seed, sizes and build make the same clip. Left out: random; the result says which.",
		rule: seedRule{}},
	{name: "scale_t", title: "Text guidance", aliases: []string{"generation.scale_t"}, setting: true,
		doc: "How strongly the prompt guides. Left out: the model's own.", rule: scale(func(r *Request) *float64 { return &r.Scales.Text })},
	{name: "scale_a", title: "Audio guidance", aliases: []string{"generation.scale_a"}, setting: true,
		doc: "How strongly the voice guides. Left out: the model's own.", rule: scale(func(r *Request) *float64 { return &r.Scales.Audio })},
	{name: "scale_i", title: "Picture guidance", aliases: []string{"generation.scale_i"}, setting: true,
		doc:  "How strongly the pictures guide; read by the 1.7B in mode TIA. Left out: the model's own.",
		rule: scale(func(r *Request) *float64 { return &r.Scales.Image })},
	{name: "step_change", title: "Switch of the guidance", aliases: []string{"generation.step_change"}, setting: true,
		doc:  "The timestep at which the guidance of the 17B changes in mode TIA.",
		rule: integerRule{func(r *Request) *int { return &r.StepChange }, 1, MaxChange, ""}},
	{name: "quality", title: "Quality", setting: true,
		doc: "exact: guided as the original does it. balanced: the same steps, some passes spared where that is known to matter little. " +
			"fast: 4 to 8 steps of one pass each, of the 17B with a step-distilled LoRA.",
		rule: choiceRule{func(r *Request, v string) { r.Quality = inference.Quality(v) },
			[]string{string(inference.Exact), string(inference.Balanced), string(inference.Fast)}, string(inference.Exact)}},
	{name: "loras", title: "LoRAs", setting: true,
		doc:  "Files of the endpoint's LoRA folder that change the model's style or motion; they add up.",
		rule: lorasRule{}},
	{name: "isolate_vocals", title: "Isolate the voice", setting: true,
		doc:  "Let the model hear the voice without music and noise. What is heard in the result stays as it was.",
		rule: flagRule{func(r *Request) *bool { return &r.IsolateVocals }}},
	{name: "preview", title: "Preview every",
		doc:  "Steps between previews, small pictures in the job's stream; 0: none.",
		rule: integerRule{func(r *Request) *int { return &r.Preview }, 0, MaxSteps, "0 is none"}},
	{name: "output", title: "Output", doc: "How the video is written, and where to.", rule: objectRule{outputFields}},
	{name: "dry_run", title: "Dry run", doc: "Check everything and estimate the time; make nothing.",
		rule: flagRule{func(r *Request) *bool { return &r.DryRun }}},
}

// outputFields are the fields of "output".
var outputFields = []*field{
	{name: "format", title: "Format", doc: "H.264 and AAC in MP4.", rule: choiceRule{func(*Request, string) {}, []string{"mp4"}, "mp4"}},
	{name: "crf", title: "Quality", doc: "x264's constant rate factor: smaller is better and larger.",
		rule: integerRule{func(r *Request) *int { return &r.Output.CRF }, MinCRF, MaxCRF, "smaller is better and larger"}},
	{name: "upload_url", title: "Upload to", doc: "A presigned URL that the video is PUT to, instead of the endpoint's bucket.",
		rule: addressRule{func(r *Request) *string { return &r.Output.UploadURL }}},
	{name: "expires_in", title: "Links last", doc: "Seconds that the result's links last, one minute to a week. Left out: the endpoint's setting.",
		rule: secondsRule{func(r *Request) *time.Duration { return &r.Output.ExpiresIn }, storage.MinExpiry, storage.MaxExpiry}},
}

// bucketFields are the fields of "s3Config", which RunPod passes on beside the input.
var bucketFields = []string{"accessId", "accessSecret", "bucketName", "endpointUrl", "objectPath", "region"}

func scale(to func(*Request) *float64) rule {
	return numberRule{to, 0, MaxScale, "leave it out for the model's own"}
}
