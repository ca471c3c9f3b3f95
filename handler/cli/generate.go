package cli

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/humo-worker/humo-worker/handler"
	"github.com/humo-worker/humo-worker/storage"
)

// generateFlags are the flags of generate that are fields of a job. All are text here: what is a valid value is the
// job's affair, so that a flag and a field are refused in the same words.
var generateFlags = []struct {
	flag, field, kind, usage string
}{
	{"mode", "mode", "TA|TIA", "TA: text and audio; TIA: also reference pictures (default: TIA when there are images)"},
	{"variant", "variant", "1.7B|17B", "size of the model (default $HUMO_VARIANT, then 1.7B)"},
	{"prompt", "prompt", "text", "what to see"},
	{"negative-prompt", "negative_prompt", "text", "what not to see (default: the reference's)"},
	{"frames", "frames", "n|auto", "length in frames, auto: that of the audio (default 97)"},
	{"width", "width", "pixels", "a multiple of 16 (default 832)"},
	{"height", "height", "pixels", "a multiple of 16 (default 480)"},
	{"fps", "fps", "n", "frames per second (default 25)"},
	{"steps", "steps", "n", "denoising steps (default 50)"},
	{"shift", "shift", "x", "shift of the noise schedule (default 5)"},
	{"seed", "seed", "n", "seed of the noise (default: random, and reported)"},
	{"scale-t", "scale_t", "x", "guidance scale of the text (default: the model's)"},
	{"scale-a", "scale_a", "x", "guidance scale of the audio (default: the model's)"},
	{"scale-i", "scale_i", "x", "guidance scale of the pictures, 1.7B only (default: the model's)"},
	{"step-change", "step_change", "n", "timestep at which the guidance changes, 17B with pictures only (default 980)"},
	{"quality", "quality", "exact|balanced|fast", "balanced: some passes spared; fast: a few unguided steps of the 17B with a step-distilled LoRA (default exact)"},
	{"isolate-vocals", "isolate_vocals", "bool", "let the model hear the voice without music and noise"},
	{"dry-run", "dry_run", "bool", "check everything and estimate the time; make nothing"},
}

// generate is a job from flags. Its sources are files of this machine.
func (a *App) generate() *cobra.Command {
	var audio, outputDir, config string
	var images, loras []string
	values := make([]flagValue, len(generateFlags))
	cmd := &cobra.Command{
		Use:   "generate --prompt TEXT --audio FILE [--image FILE …]",
		Short: "Make one clip from flags; the result's JSON goes to standard output",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			input := map[string]any{}
			for i, f := range generateFlags {
				if cmd.Flags().Changed(f.flag) {
					input[f.field] = values[i].json(f.kind)
				}
			}
			if err := addFiles(input, audio, images); err != nil {
				return err
			}
			addLoRAs(input, loras)
			return a.makeClip(cmd, input, outputDir, config)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	for i, f := range generateFlags {
		values[i].kind = f.kind
		flags.Var(&values[i], f.flag, f.usage)
		if f.kind == "bool" {
			flags.Lookup(f.flag).NoOptDefVal = "true"
		}
	}
	flags.StringVar(&audio, "audio", "", "voice track, a `file`")
	flags.StringArrayVar(&images, "image", nil, "reference picture, a `file`; may be repeated")
	flags.StringArrayVar(&loras, "lora", nil, "`file[=strength]` of the LoRA folder ($HUMO_LORAS); may be repeated")
	flags.StringVar(&config, "config", "", "`file` with defaults: the original's generate.yaml, or the fields of a job in YAML (default $HUMO_CONFIG)")
	flags.StringVar(&outputDir, "output-dir", "", "`folder` for the result (default $HUMO_OUTPUT, then ./output)")
	return cmd
}

// addFiles makes paths absolute, so that none looks like another kind of source.
func addFiles(input map[string]any, audio string, images []string) error {
	if audio != "" {
		path, err := filepath.Abs(audio)
		if err != nil {
			return err
		}
		input["audio"] = path
	}
	paths := make([]string, len(images))
	for i, image := range images {
		path, err := filepath.Abs(image)
		if err != nil {
			return err
		}
		paths[i] = path
	}
	if len(paths) > 0 {
		input["images"] = paths
	}
	return nil
}

// addLoRAs reads "file=strength"; whether both are right is the job's affair.
func addLoRAs(input map[string]any, loras []string) {
	var all []map[string]any
	for _, text := range loras {
		one := map[string]any{"name": text}
		if i := strings.LastIndex(text, "="); i >= 0 {
			strength := flagValue{text: text[i+1:]}
			one = map[string]any{"name": text[:i], "strength": strength.json("x")}
		}
		all = append(all, one)
	}
	if len(all) > 0 {
		input["loras"] = all
	}
}

func (a *App) makeClip(cmd *cobra.Command, input map[string]any, outputDir, config string) error {
	ctx := cmd.Context()
	show := newDisplay(a.Stderr, a.Stderr)
	settings, log, err := a.start(show, "")
	if err != nil {
		return err
	}
	if outputDir != "" {
		settings.Output.Output = outputDir
		settings.Bucket = storage.S3Config{} // the flag wins over the environment's
	}
	if config != "" {
		settings.Jobs.File = config
	}
	data, err := json.Marshal(input)
	if err != nil {
		return err
	}
	jobs, shut, err := a.open(settings, log)
	if err != nil {
		return err
	}
	defer shut()
	progress := show.progress(log)
	result, err := jobs.Handle(ctx, handler.Job{ID: newID(), Input: data, LocalPaths: true}, progress)
	progress.Close()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.Stdout, compact(result))
	return err
}

// newID names the folder of a result so that a listing is in the order of time.
func newID() string {
	return "generate-" + time.Now().UTC().Format("20060102-150405") + "-" + strings.ToLower(rand.Text()[:4])
}

// flagValue is a flag whose help names its kind.
type flagValue struct{ text, kind string }

func (v *flagValue) String() string     { return "" } // the usage says the default
func (v *flagValue) Set(s string) error { v.text = s; return nil }
func (v *flagValue) Type() string       { return v.kind }

// json is the value of a job's field: a number where one is written in a numeric flag, true or false in a flag of
// that kind, else text.
func (v *flagValue) json(kind string) any {
	switch kind {
	case "bool":
		if yes, err := strconv.ParseBool(v.text); err == nil {
			return yes
		}
	case "n", "x", "pixels", "n|auto":
		if number := json.Number(v.text); json.Valid([]byte(v.text)) && v.text != "" && strings.ContainsAny(v.text[:1], "-0123456789") {
			return number
		}
	}
	return v.text
}
