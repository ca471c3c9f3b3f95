package ort

import (
	"slices"
	"strconv"
	"strings"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// CUDAConfig holds the settings of ONNX Runtime's CUDA provider. They matter only where a Place is a card. Its zero value
// stands for the defaults, as each field says.
//
// What is not offered: CUDA graphs (enable_cuda_graph). A captured graph replays with the addresses of its first run, but
// here equal stages share one session whose weights are other addresses each time, results are fresh memory in every run,
// and groups of weights move between runs. Copying everything into fixed buffers first would cost a second set of
// activations to save launches, which take milliseconds where one pass of the network takes seconds.
type CUDAConfig struct {
	// Arena is how the arena that the sessions of a card share grows: "exact" (also empty), by what is asked for, or
	// "doubling", by powers of two: fewer allocations, up to twice the memory.
	Arena string `env:"HUMO_CUDA_ARENA" envDefault:"exact"`

	// MemoryMiB bounds that arena (activations and workspaces, not the weights), in MiB; 0 means all that the card has.
	MemoryMiB int64 `env:"HUMO_CUDA_MEMORY_MIB" envDefault:"0"`

	// ConvSearch is how cuDNN picks the algorithm of a convolution: "heuristic" (also empty), by a table, or "exhaustive",
	// by a model of the card, which takes longer for every new shape and sometimes finds a faster one. (The provider's
	// third way, DEFAULT, is cuDNN's fallback, which may be extremely slow; and its limit on the workspace is not looked
	// at since cuDNN 9. Neither is offered.)
	ConvSearch string `env:"HUMO_CUDA_CONV_SEARCH" envDefault:"heuristic"`

	// NoTF32 computes what is float32 with all 24 bits. TensorFloat-32 keeps 11 of them and is several times faster from
	// Ampere on; PyTorch uses it in convolutions too. It also takes the tensor cores from 16-bit convolutions, so it is
	// for comparisons in float32.
	NoTF32 bool `env:"HUMO_CUDA_NO_TF32" envDefault:"false"`

	// Attention names the attention kernels that may be used: flash, efficient, cudnn, math. Empty means the first three:
	// left alone, the library would not try cuDNN's on cards before Hopper, where its flash kernel does not take bf16 (as
	// of 1.30). The math kernel keeps all scores, which no video-sized run has memory for; it is what remains, silently,
	// where no named kernel fits: bf16 with flash alone, for one.
	Attention []string `env:"HUMO_CUDA_ATTENTION" envSeparator:","`

	// NHWC runs convolutions with the channels last where the provider can (float32 and fp16, not bf16).
	NHWC bool `env:"HUMO_CUDA_NHWC" envDefault:"false"`

	// Fallback says what becomes of a node that has no CUDA kernel: "warn" (also empty) runs it on the processor and logs
	// a warning when the session is made, "allow" does so silently, "refuse" does not make the session.
	Fallback string `env:"HUMO_CUDA_FALLBACK" envDefault:"warn"`
}

// The words of the settings, and the provider's for them.
var (
	cudaArenas    = map[string]string{"": "kSameAsRequested", "exact": "kSameAsRequested", "doubling": "kNextPowerOfTwo"}
	cudaSearches  = map[string]string{"": "HEURISTIC", "heuristic": "HEURISTIC", "exhaustive": "EXHAUSTIVE"}
	cudaKernels   = map[string]int{"flash": 1, "efficient": 2, "cudnn": 8, "math": 16} // bits of sdpa_kernel
	cudaFallbacks = []string{"", "warn", "allow", "refuse"}
)

// maxCUDAMemory bounds HUMO_CUDA_MEMORY_MIB: more is a typing error (bytes given for MiB).
const maxCUDAMemory = 1 << 22

// Validate reports the first setting that cannot work; the fault's field is the variable's name.
func (c CUDAConfig) Validate() error {
	invalid := func(name, value, words string) error {
		return fault.New("invalid_setting", name, "%q is not one of %s", value, words)
	}
	if cudaArenas[c.Arena] == "" {
		return invalid("HUMO_CUDA_ARENA", c.Arena, "exact, doubling")
	}
	if c.MemoryMiB < 0 || c.MemoryMiB > maxCUDAMemory {
		return fault.New("invalid_setting", "HUMO_CUDA_MEMORY_MIB", "%d is outside 0…%d MiB; 0 sets no limit", c.MemoryMiB, maxCUDAMemory)
	}
	if cudaSearches[c.ConvSearch] == "" {
		return invalid("HUMO_CUDA_CONV_SEARCH", c.ConvSearch, "heuristic, exhaustive")
	}
	for _, name := range c.Attention {
		if cudaKernels[strings.TrimSpace(name)] == 0 {
			return invalid("HUMO_CUDA_ATTENTION", name, "flash, efficient, cudnn, math")
		}
	}
	if !slices.Contains(cudaFallbacks, c.Fallback) {
		return invalid("HUMO_CUDA_FALLBACK", c.Fallback, "warn, allow, refuse")
	}
	return nil
}

// options are the provider's options for one card.
func (c CUDAConfig) options(card int) map[string]string {
	names, kernels := c.Attention, 0
	if len(names) == 0 {
		names = []string{"flash", "efficient", "cudnn"}
	}
	for _, name := range names {
		kernels |= cudaKernels[strings.TrimSpace(name)]
	}
	o := map[string]string{
		"device_id":              strconv.Itoa(card),
		"arena_extend_strategy":  cudaArenas[c.Arena],
		"cudnn_conv_algo_search": cudaSearches[c.ConvSearch],
		"use_tf32":               flag(!c.NoTF32),
		"sdpa_kernel":            strconv.Itoa(kernels),
		"prefer_nhwc":            flag(c.NHWC),
		// Copies wait for the compute stream's order, at no cost that matters: weights are not copied by sessions.
		"do_copy_in_default_stream": "1",
	}
	if c.MemoryMiB > 0 {
		o["gpu_mem_limit"] = strconv.FormatInt(c.MemoryMiB<<20, 10)
	}
	return o
}

// noCUDA is the fault of a place that this library cannot serve.
func noCUDA(p Place, err error) error {
	return fault.New("cuda_missing", "ONNXRUNTIME_LIB",
		"this ONNX Runtime has no CUDA provider that works on %s; use the GPU build of version %s, all its libonnxruntime files in one folder, with the CUDA and cuDNN libraries that it was built for, see docs/deploy.md",
		p, LibraryVersion).Because(err)
}
