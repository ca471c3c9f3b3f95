package weights

// Dims are the sizes of a checkpoint set to be written. A nil network is left out.
type Dims struct {
	DiT1B   *DiTDims
	DiT17B  *DiTDims
	VAE     *VAEDims
	UMT5    *UMT5Dims
	Whisper *WhisperDims

	PassThrough bool // also a vocal separator, which changes nothing
}

// DiTDims are the sizes of a diffusion transformer, by the names of the published configuration.
type DiTDims struct {
	Dim    int64 // a multiple of 128, the width of a head
	FFN    int64
	Layers int
	Freq   int64 // width of the sinusoidal time embedding
	Text   int64 // UMT5's width
	KV     int64 // width of the audio tokens
	Hidden int64 // of the audio projection
	Audio  int64 // Whisper's width
	In     int64 // 16, or 36 with mask and condition
	Shards int   // 17B: number of files
}

// VAEDims is the base width c of the Wan VAE; the encoder and decoder go up to 4c.
type VAEDims struct {
	Dim int64
}

// UMT5Dims are the sizes of the text encoder.
type UMT5Dims struct {
	Dim, Attention, FFN int64
	Heads, Buckets      int64
	Layers              int
	Vocabulary          int64 // rows of the embedding
}

// WhisperDims are the sizes of the audio encoder.
type WhisperDims struct {
	Dim, FFN  int64
	Heads     int64
	Layers    int
	Positions int64
	Mels      int64
}

// DemoDims are the sizes of the demo bundle: as small as the code's fixed numbers allow. HuMo averages bands of
// Whisper's hidden states up to number 32, so that network keeps its 32 layers.
func DemoDims() Dims {
	return Dims{
		DiT1B:   &DiTDims{Dim: 128, FFN: 256, Layers: 2, Freq: 256, Text: 64, KV: 64, Hidden: 64, Audio: 32, In: 16},
		DiT17B:  &DiTDims{Dim: 256, FFN: 256, Layers: 2, Freq: 256, Text: 64, KV: 64, Hidden: 64, Audio: 32, In: 36, Shards: 2},
		VAE:     &VAEDims{Dim: 8},
		UMT5:    &UMT5Dims{Dim: 64, Attention: 64, FFN: 128, Heads: 4, Buckets: 32, Layers: 2, Vocabulary: int64(len(pieces())) + spareRows},
		Whisper: &WhisperDims{Dim: 32, FFN: 64, Heads: 2, Layers: 32, Positions: 1500, Mels: 128},

		PassThrough: true,
	}
}

// PublishedDims are the sizes of the published files.
func PublishedDims() Dims {
	return Dims{
		DiT1B:   &DiTDims{Dim: 1536, FFN: 8960, Layers: 30, Freq: 256, Text: 4096, KV: 1536, Hidden: 512, Audio: 1280, In: 16},
		DiT17B:  &DiTDims{Dim: 5120, FFN: 13824, Layers: 40, Freq: 256, Text: 4096, KV: 1536, Hidden: 512, Audio: 1280, In: 36, Shards: 7},
		VAE:     &VAEDims{Dim: 96},
		UMT5:    &UMT5Dims{Dim: 4096, Attention: 4096, FFN: 10240, Heads: 64, Buckets: 32, Layers: 24, Vocabulary: 256_384},
		Whisper: &WhisperDims{Dim: 1280, FFN: 5120, Heads: 20, Layers: 32, Positions: 1500, Mels: 128},
	}
}

// BenchDims are sizes for measuring the 1.7B: its diffusion transformer and the VAE as published (7.5 GB), with encoders
// that have the published output widths and little inside (0.7 GB).
func BenchDims() Dims {
	d := PublishedDims()
	d.DiT17B = nil
	d.UMT5 = &UMT5Dims{Dim: 4096, Attention: 512, FFN: 512, Heads: 8, Buckets: 32, Layers: 2, Vocabulary: int64(len(pieces())) + spareRows}
	d.Whisper = &WhisperDims{Dim: 1280, FFN: 1280, Heads: 20, Layers: 32, Positions: 1500, Mels: 128}
	return d
}

// spareRows is by how much the published embedding is longer than its vocabulary.
const spareRows = 84
