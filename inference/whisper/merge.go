package whisper

import (
	"fmt"
	"math"

	"github.com/humo-worker/humo-worker/inference/fault"
)

const (
	// DefaultFPS is the frame rate that HuMo was trained at.
	DefaultFPS = 25
	// DefaultFrames is the reference's clip length.
	DefaultFrames = 97

	// EncoderRate is the number of encoder rows for a second of sound; SegmentRows come from one segment.
	EncoderRate = 50
	SegmentRows = SegmentColumns / 2

	// Bands is the number of features kept of the encoder's 33 hidden states: the means of states 0-7, 8-15, 16-23 and
	// 24-31, and state 32 alone.
	Bands = 5

	audioFrameSamples = SampleRate / DefaultFPS
)

// AudioFrames is the number of whole frames of 1/25 s in a wave; the reference measures audio so at any frame rate.
func AudioFrames(samples int) int { return samples / audioFrameSamples }

// KeptRows is the number of encoder rows, at EncoderRate, that belong to that much audio; the rows after them are
// the padding of the last segment.
func KeptRows(audioFrames int) int { return audioFrames * EncoderRate / DefaultFPS }

// MergedFrames is the number of video frames, at fps, that the kept rows of that much audio become.
//
// It is int((rows/50)*fps) in float64, in that order, as the reference has it. At 25 fps the product often lands just
// below the integer, and then one frame is lost: 29 audio frames give 28. The network was tuned with that.
func MergedFrames(audioFrames, fps int) int {
	return int(float64(KeptRows(audioFrames)) / EncoderRate * float64(fps))
}

// HeardFrames is how many of the available merged frames a clip of that many video frames hears: its last window reaches
// two frames beyond it.
func HeardFrames(frames, available int) int {
	return min(available, 4*(LatentFrames(frames)-1)+1+windowShift)
}

// HeardRows is how many encoder rows the first heard of frames merged frames depend on, where rows rows become frames.
func HeardRows(rows, frames, heard int) int {
	if heard < 1 {
		return 0
	}
	low, _ := rowsOf(heard-1, rows, frames)
	return min(low+2, rows)
}

// Merge resamples the bands, each [rows, width] row-major, to frames video frames and stacks the first heard of them:
// [heard, Bands, width]. Resampling is linear with aligned corners: the first and the last of all frames are the first and
// the last row. Positions and weights are float32, as in torch's interpolate. Rows after those of HeardRows are not looked at.
func Merge(bands [Bands][]float32, width, rows, frames, heard int) ([]float32, error) {
	if rows < 1 || frames < 1 || width < 1 || heard < 0 || heard > frames {
		return nil, fmt.Errorf("whisper: nothing to merge: %d rows of %d values to %d of %d frames", rows, width, heard, frames)
	}
	for b, band := range bands {
		if needed := HeardRows(rows, frames, heard); len(band) < needed*width {
			return nil, fmt.Errorf("whisper: band %d has %d values, %d rows of %d are needed", b, len(band), needed, width)
		}
	}
	out := make([]float32, 0, heard*Bands*width)
	for i := range heard {
		low, weight := rowsOf(i, rows, frames)
		high := min(low+1, rows-1)
		for _, band := range bands {
			a, b := band[low*width:(low+1)*width], band[high*width:(high+1)*width]
			for k := range a {
				out = append(out, float32((1-weight)*a[k])+float32(weight*b[k]))
			}
		}
	}
	return out, nil
}

// rowsOf says where frame i of frames lies among the rows: at low, or between it and the next, whose weight is given.
func rowsOf(i, rows, frames int) (low int, weight float32) {
	var scale float32
	if frames > 1 {
		scale = float32(rows-1) / float32(frames-1)
	}
	position := scale * float32(i)
	low = min(int(position), rows-1)
	return low, min(position-float32(low), 1)
}

// FrameCount is the number of frames that a clip gets: requested, or for 0 or -1 the merged frames of the voice,
// rounded down to 4k+1, which is what the video autoencoder can hold. A shorter voice is followed by silence, the end
// of a longer one is ignored. Spec §4.6.
func FrameCount(requested, merged int) (int, error) {
	if merged < 1 {
		return 0, fault.New("invalid_input", "audio", "the audio is shorter than one video frame; give 0.1 s or more")
	}
	if requested < -1 || requested > math.MaxInt32 {
		return 0, fault.New("invalid_input", "frames", "%d is no number of frames; use 1 or more, or 0 for the length of the audio", requested)
	}
	if requested < 1 {
		requested = merged
	}
	return 4*((requested-1)/4) + 1, nil
}
