package plan

// What a stage takes beside its weights. Numbers in the hot parts of the transformer and of the text encoder have b bytes
// (Device.Compute and Text); what the transformer adds up from block to block, its residual stream, has 4, and so have all
// numbers of the VAE and of the audio encoder.
//
// Measured on the CPU (b = 4; anonymous memory, Base 0.14 GB of it: the program, ONNX Runtime, its threads; the transformer with 2 of
// 30 blocks and one text and voice, as `bench dit --size 416x240x9` and `832x480x5` make it):
//
//	transformer, 1.7B, 1,560 tokens   0.29 GB   these formulas: 0.42, of which keys and values 0.03
//	transformer, 1.7B, 4,680 tokens   0.57 GB                   0.75, of which keys and values 0.03
//	VAE decoder, 480x832              5.97 GB                   6.00, of which memories 3.78
//
// In 8 bits (`bench dit --int8`) the first takes 0.15 GB more, of which 0.10 are the copies that Job.Copies counts.
//
// The other figures, and all at b = 2, are the same formulas, unmeasured.

// CPUBase is the Base of the CPU's measurements. CUDABase is what a card is taken to lose to CUDA's context and to the
// workspaces of its libraries.
const (
	CPUBase  = 140_000_000
	CUDABase = 1_000_000_000
)

const (
	vaeStride      = 8
	temporalStride = 4
	patch          = 2
	textRows       = 512
	float32Bytes   = 4
)

// LatentFrames is the number of latent frames that the transformer sees, references included.
func (j Job) latentFrames() int64 {
	return 1 + int64(max(j.Frames, 1)-1)/temporalStride + int64(max(j.References, 1))
}

// latentPixels are those of a latent frame.
func (j Job) latentPixels() int64 { return int64(j.Width/vaeStride) * int64(j.Height/vaeStride) }

// Tokens is the number of patches that a pass attends.
func (j Job) Tokens() int64 { return j.latentFrames() * j.latentPixels() / (patch * patch) }

// rows is what a transformer of a width keeps for rows of activations: the feed-forward network's inner values before and
// after their function, of the rows that it takes at a time, and 14 rows of the width: the residual stream and its sum, the
// normalised input, q, k and v before and after their norms and rotation, attention's result and its projection. No attention
// scores: no provider holds them.
func rows(n, width, ffn, b int64) int64 {
	const stream, inner, together = 2, 12, 2048
	return n*width*(stream*float32Bytes+inner*b) + 2*min(n, together)*ffn*b
}

// denoise: beside what a pass takes, a step keeps the residual stream that its passes start from.
func (m Model) denoise(j Job, d Device) int64 {
	return rows(j.Tokens(), m.Width, m.FFN, d.Compute) + j.Tokens()*m.Width*float32Bytes + m.keys(j, d)
}

// keys are the keys and values of text and audio for every block, which are made once per clip: of two prompts, and of the
// voice and of silence.
func (m Model) keys(j Job, d Device) int64 {
	const texts, voices, audioTokens, keyAndValue = 2, 2, 16, 2
	return keyAndValue * m.Blocks * (texts*textRows + voices*audioTokens*j.latentFrames()) * m.Width * d.Compute
}

func (m Model) text(d Device) int64 {
	if d.Text == 0 {
		return 0
	}
	return rows(textRows, m.TextWidth, m.TextFFN, d.Text)
}

// audio: a window of 30 s is 1500 rows; the values after every one of 32 layers are averaged into bands, 33 with the input.
func (m Model) audio() int64 {
	const window, kept = 1500, 33
	return rows(window, m.AudioWidth, 4*m.AudioWidth, float32Bytes) + kept*window*m.AudioWidth*float32Bytes
}

// A decoder's temporal convolutions remember two frames each. Per latent pixel these are so many values of a frame, in
// units of the channels at full size (c = 96 in the published VAE: 75,648 with it, and 16 of the latent's own): at the
// latent size 44 c, at twice that 26 c × 4 pixels, at four times 12 c × 16, at full size 7 c × 64. An encoder's likewise:
// 3 and 4 c × 64, 7 c × 16, 14 c × 4, 36 c; the halvings of frames remember one frame only.
const (
	remembered    = 2
	decoderLatent = 16
	decoderUnits  = 44 + 26*4 + 12*16 + 7*64
	encoderColour = 3 * 64
	encoderUnits  = 4*64 + 7*16 + 14*4 + 36 + 4 + 2
)

// The largest stage runs at full size on c channels. It holds 11 frames of them beside the memories: input, result, two
// activations, three frames side by side for a convolution, what the convolution unfolds, frames that wait. With memories
// on the host, those of that stage stay: four frames and the two that replace old ones.
const (
	workingFrames = 11
	stageMemories = 6
)

// On the CPU convolutions are in Winograd's form (nn's winograd.go), which transforms a picture in bands of 128 MiB: arguments,
// products and results of a band are there at the same time. Measured, they add 0.37 GB to the 5.60 of the decoder at 480x832.
const winogradBands = 3 * 128 << 20

func (m Model) working(j Job, d Device) int64 {
	frame := m.fullFrame(j)
	if d.Mapped {
		return workingFrames*frame + min(winogradBands, workingFrames*frame/4)
	}
	return workingFrames * frame
}

// fullFrame is a frame of c channels at the size of the video.
func (m Model) fullFrame(j Job) int64 {
	return m.VAEChannels * int64(j.Width) * int64(j.Height) * float32Bytes
}

func (m Model) decode(j Job, d Device, where Memories) int64 {
	if j.Frames <= 1 { // a single frame is decoded without memories
		return m.working(j, d)
	}
	return m.working(j, d) + m.memories(j, where, decoderLatent+decoderUnits*m.VAEChannels)
}

// encode: pictures are encoded one by one, without memories; the 17B's grey clip needs them.
func (m Model) encode(j Job, d Device, where Memories) int64 {
	if !m.Conditioned || j.latentFrames() == 1 {
		return m.working(j, d)
	}
	return m.working(j, d) + m.memories(j, where, encoderColour+encoderUnits*m.VAEChannels)
}

func (m Model) memories(j Job, where Memories, valuesPerPixel int64) int64 {
	all := remembered * valuesPerPixel * j.latentPixels() * float32Bytes
	if where == OnHost {
		return min(all, stageMemories*m.fullFrame(j))
	}
	return all
}
