package handler

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference"
)

// The answer says in which numbers the transformer's linear layers ran, or would run, and why not in 8 bits; where an engine does
// not tell, it says nothing.
func TestResultSaysLinear(t *testing.T) {
	for _, test := range []struct {
		linear inference.Linear
		want   string
	}{
		{inference.Linear{DType: inference.INT8}, `"linear":"int8"}`},
		{inference.Linear{DType: inference.FP32, Reason: "no VNNI"}, `"linear":"fp32","linear_reason":"no VNNI"}`},
		{inference.Linear{DType: inference.BF16}, `"linear":"bf16"}`},
		{inference.Linear{}, `}`},
	} {
		for name, r := range map[string]*Result{
			"clip":    newResult(inference.Spec{FPS: 25}, &inference.Clip{Linear: test.linear}),
			"dry run": dryResult(inference.Spec{FPS: 25}, inference.Estimate{Linear: test.linear}),
		} {
			data, err := json.Marshal(r)
			if err != nil || !strings.HasSuffix(string(data), test.want) || strings.Contains(string(data), "linear") != (test.linear.DType != "") {
				t.Errorf("%s: %s, want the end %s (%v)", name, data, test.want, err)
			}
		}
	}
}
