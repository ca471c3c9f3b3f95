package plan

// Published is the size of a published variant ("1.7B" or "17B") at so many bytes a number of the transformer and the text
// encoder.
func Published(variant string, compute int64) Model {
	m := Model{
		Variant: variant, VAEChannels: 96, TextWidth: 4096, TextFFN: 10240, AudioWidth: 1280,
		Width: 1536, FFN: 8960, Blocks: 30,
	}
	transformer, outside := int64(1_741_569_088), int64(60_000_000) // parameters; of these, about, in no block
	if variant == "17B" {
		m.Width, m.FFN, m.Blocks, m.Conditioned = 5120, 13824, 40, true
		transformer, outside = 17_000_000_000, 200_000_000
	}
	m.BlockBytes = (transformer - outside) / m.Blocks * compute
	m.Bytes = map[Network]int64{
		Text: 5_680_000_000 * compute, Audio: 637_000_000 * float32Bytes, VAE: 126_900_000 * float32Bytes, DiT: transformer * compute,
	}
	return m
}
