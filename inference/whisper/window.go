package whisper

// WindowFrames is the number of video frames whose sound one latent frame hears.
const WindowFrames = 8

// windowShift is how far a window reaches beyond its own frames, on both sides.
const windowShift = 2

// LatentFrames is the number of latent frames of a clip: one for the first frame, one for each four that follow.
func LatentFrames(frames int) int { return 1 + (frames-1)/4 }

// Windows cuts merged features, row values for each video frame (Bands·width), into the windows of a clip of that
// many frames: [LatentFrames(frames)+references, WindowFrames, row]. Window k is frames 4k-5 to 4k+2; frames outside
// the features are zeros. So window 0 is zeros up to frame -1, which is also how the reference fills it. The
// references windows at the end are zeros: reference frames hear nothing.
//
// next is the first video frame after the clip, where the windows of a continued clip would start; for frames = 4k+1
// it is frames. Spec §4.5.
func Windows(features []float32, row, frames, references int) (windows []float32, next int) {
	count, available := LatentFrames(frames), len(features)/row
	windows = make([]float32, (count+references)*WindowFrames*row)
	for k := range count {
		start := 4*k + 1 + windowShift - WindowFrames // one past the window's last frame, less its length
		for j := range WindowFrames {
			frame := start + j
			if frame >= 0 && frame < available {
				copy(windows[(k*WindowFrames+j)*row:], features[frame*row:(frame+1)*row])
			}
		}
	}
	return windows, 1 + 4*(count-1)
}
