package plan

import (
	"strings"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// CodeDoesNotFit is the code of every refusal of this package.
const CodeDoesNotFit = "does_not_fit"

// refuse says what the way that needs least is short of, and what helps in that stage.
func refuse(m Model, j Job, d Device, least *Plan) error {
	worst := least.Worst()
	var cures []string
	field := ""
	if worst.Activations > worst.Weights/4 {
		cures, field = append(cures, "a smaller size"), "width"
		if worst.Name == StageDiT { // a decoder's memory does not grow with the clip
			cures, field = append(cures, "fewer frames"), "frames"
		}
	}
	if m.Variant == "17B" && (worst.Name == StageDiT || worst.Name == StageImage) {
		cures = append(cures, "the variant 1.7B")
	}
	cures = append(cures, "a machine with more memory")
	if len(cures) > 1 {
		cures[len(cures)-1] = "or " + cures[len(cures)-1]
	}
	return fault.New(CodeDoesNotFit, field, "%d frames of %dx%d with the %s need %.2f GB at stage %s, and %.2f GB are free; use %s",
		j.Frames, j.Width, j.Height, m.Variant, gb(worst.Peak), worst.Name, gb(d.Free), strings.Join(cures, ", "))
}
