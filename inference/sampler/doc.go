// Package sampler turns noise into latents: the flow-matching schedule, the UniPC predictor-corrector, the guidance
// plans of HuMo's four variant and mode pairs as data, and the noise itself. All of it is arithmetic on []float32
// that reproduces the reference's order of operations.
//
// It must not know how a velocity is computed: no network, no weights, no files, no devices.
//
// # Noise
//
// The reference draws from a CUDA generator whose stream depends on the device. Here the seed alone decides, by this
// definition:
//
//   - Generator: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11).
//   - Key: (low 32 bits of the seed, high 32 bits of the seed).
//   - Counter of block j, j = 0, 1, 2, …: (low 32 bits of j, high 32 bits of j, 0, 0).
//   - Uniforms: from the block's four output words w0…w3,
//     a = w1·2^32 + w0 and b = w3·2^32 + w2; u = (⌊a/2^12⌋ + 1/2)·2^-52, v = (⌊b/2^12⌋ + 1/2)·2^-52.
//     Both are exact in float64 and lie strictly between 0 and 1.
//   - Normals (Box–Muller): r = √(-2 ln u), values 2j and 2j+1 are r·cos(2πv) and r·sin(2πv), computed in float64 and
//     rounded once to float32. An odd count drops the last sine.
//
// Value i depends on the seed and i only, so a shorter draw is a prefix of a longer one. The latents take the values
// in row-major order of [16, F+n_ref, h, w]. One build gives the same bits everywhere; between processor architectures
// the math library's last bit of float64 may, for one value in some hundred million, change the rounding to float32.
package sampler
