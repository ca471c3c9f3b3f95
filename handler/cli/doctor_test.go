package cli_test

import "github.com/humo-worker/humo-worker/inference"

// Machine is that of an engine on cards.
func (*grey) Machine() inference.Machine {
	return inference.Machine{Device: "2 x NVIDIA L40S", Provider: "CUDA", DType: inference.BF16, Driver: "580.95.05"}
}
