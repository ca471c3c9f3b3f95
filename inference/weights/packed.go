package weights

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
)

// packedOff and the two formats are the values of HUMO_PACKED.
const packedOff = "off"

var packedFormats = []string{"bf16", "fp16"}

// PackedDType is the type of the numbers in a packed copy of a format ("bf16" or "fp16").
func PackedDType(format string) (checkpoint.DType, error) {
	switch format {
	case "bf16":
		return checkpoint.BF16, nil
	case "fp16":
		return checkpoint.F16, nil
	}
	return checkpoint.Invalid, fault.New("invalid_dtype", "dtype", "%q is no format of a packed copy; use %s", format, strings.Join(packedFormats, " or "))
}

// PackedFormat is the format of the packed transformer that is to be used where there is one; empty: none is.
func (c Config) PackedFormat() string {
	if c.Packed == packedOff {
		return ""
	}
	return c.Packed
}

func (c Config) validatePacked() error {
	if c.Packed != "" && c.Packed != packedOff && !slices.Contains(packedFormats, c.Packed) {
		return fault.New("invalid_setting", "HUMO_PACKED", "%q is not one of %s, %s", c.Packed, packedOff, strings.Join(packedFormats, ", "))
	}
	return nil
}

// Transformer is the published file of a variant's transformer, or the fault "missing_weights" with the command that
// fetches it.
func (l Layout) Transformer(variant string) (string, error) {
	published := map[string]string{variant1B: pathDiT1B, variant17B: pathDiT17B}[variant]
	if published == "" {
		return "", fault.New("unknown_variant", "variant", "%q is no published variant; use %s or %s", variant, variant1B, variant17B)
	}
	where := l.Path(published)
	if what := inspect(where); what != "" {
		return "", fault.New("missing_weights", "HUMO_WEIGHTS", "%s (the transformer) is %s; fetch it with: %s", where, what, l.Cure(variant))
	}
	return where, nil
}

// Packed is where the packed copy of a transformer of the layout lies: beside the file that it is made of.
func Packed(transformer, format string) string {
	return filepath.Join(filepath.Dir(transformer), "packed-"+format+".safetensors")
}
