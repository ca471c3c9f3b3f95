package media

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/sandbox"
)

// VideoSpec says what WriteMP4 writes.
type VideoSpec struct {
	Width, Height int    // pixels, even
	FPS           int    // 1 to 240
	Frames        int    // how many frames there will be, so that the audio can be cut to their length
	CRF           int    // x264's constant rate factor, 1 (best) to 51; 0 means 18, visually lossless
	AudioPath     string // the original audio, of which the first stream is muxed; "" for a silent video, or with Audio
	Audio         *Audio // the same, from somebody who has opened it

	encoder string // "libx264" unless a test wants another
}

const defaultCRF = 18

func (s VideoSpec) check() error {
	invalid := func(field, message string, args ...any) error {
		return fault.New("invalid_video", field, message, args...)
	}
	switch {
	case s.Width <= 0 || s.Width%2 != 0:
		return invalid("width", "The width is %d; it must be even and positive.", s.Width)
	case s.Height <= 0 || s.Height%2 != 0:
		return invalid("height", "The height is %d; it must be even and positive.", s.Height)
	case s.FPS < 1 || s.FPS > 240:
		return invalid("fps", "The frame rate is %d; it must be 1 to 240.", s.FPS)
	case s.Frames < 1:
		return invalid("frames", "The frame count is %d; at least one is needed.", s.Frames)
	case s.CRF < 0 || s.CRF > 51:
		return invalid("output.crf", "The crf is %d; it must be 1 (best) to 51, or 0 for the default of %d.", s.CRF, defaultCRF)
	}
	return nil
}

// WriteMP4 writes an H.264 (yuv420p, BT.709, limited range) and AAC file that starts playing before it is loaded.
//
// next returns one frame after the other, RGB bytes of shape [Height, Width, 3], and then io.EOF; its buffer may be
// used again. Every frame appears once and in order. The audio starts with the first frame and is cut at the video's
// end; if it is shorter, the video goes on in silence. (The reference cuts the video instead and repeats frames;
// spec §8.5.) More than two channels become their mean, which is what the model heard.
//
// The file appears under its name only when it is complete: on an error or when ctx ends, nothing is left behind.
// Faults: encode_failed (retryable unless a limit was hit or ffmpeg itself failed), ffmpeg_missing, ffmpeg_unusable,
// invalid_video, and DecodeAudio's.
// An error of next is returned as it is.
func WriteMP4(ctx context.Context, path string, spec VideoSpec, next func() ([]byte, error)) (err error) {
	if err := spec.check(); err != nil {
		return err
	}
	if spec.Audio == nil && spec.AudioPath != "" {
		if spec.Audio, err = OpenAudio(ctx, spec.AudioPath); err != nil {
			return err
		}
	}
	if path, err = filepath.Abs(path); err != nil {
		return err
	}
	part, err := os.CreateTemp(filepath.Dir(path), ".*.mp4.part")
	if err != nil {
		return fault.New("encode_failed", "", "The video cannot be written to its folder.").Because(err)
	}
	defer func() {
		part.Close() //nolint:errcheck // ffmpeg writes it; what we hold is for fsync only
		if err != nil {
			os.Remove(part.Name()) //nolint:errcheck // the first error matters more
		}
	}()
	if err := encode(ctx, part.Name(), spec, next); err != nil {
		return err
	}
	if err := whole(part); err != nil {
		return fault.New("encode_failed", "", "The video was not written to its end. The disk may be full.").Again().Because(err)
	}
	return publish(part, path)
}

// publish makes the finished file durable and visible, in this order.
func publish(part *os.File, path string) error {
	failed := fault.New("encode_failed", "", "The finished video cannot be written to its folder. The disk may be full.").Again()
	if err := part.Chmod(0o644); err != nil {
		return failed.Because(err)
	}
	if err := part.Sync(); err != nil {
		return failed.Because(err)
	}
	if err := os.Rename(part.Name(), path); err != nil {
		return failed.Because(err)
	}
	if dir, err := os.Open(filepath.Dir(path)); err == nil {
		dir.Sync()  //nolint:errcheck // network file systems may refuse it; the file itself is safe
		dir.Close() //nolint:errcheck // only synced
	}
	return nil
}

func encode(parent context.Context, path string, spec VideoSpec, next func() ([]byte, error)) error {
	ctx, stop := context.WithCancel(parent)
	defer stop()
	t, err := newTool(ctx, "ffmpeg", spec.encoding(path), encodeArgs(path, spec)...)
	if err != nil {
		return err
	}
	defer t.Close()
	stdin, err := t.StdinPipe()
	if err != nil {
		return err
	}
	if err := t.start(ctx); err != nil {
		return err
	}
	frames, writeErr := feed(ctx, t, stdin, spec, next)
	var broken *brokenPipe
	if writeErr != nil && !errors.As(writeErr, &broken) {
		stop() // the frames ended with an error of ours: what ffmpeg has is worth nothing
	}
	stdin.Close()          //nolint:errcheck // ffmpeg may have closed its end before
	t.Alive(5 * patient()) // for the frames that x264 holds back, and to write the file once more, with its index in front
	waitErr := t.Wait()
	switch {
	case parent.Err() != nil:
		return interrupted(parent, "encode video")
	case writeErr != nil && broken == nil:
		return writeErr
	case waitErr == nil && writeErr == nil:
		return nil
	}
	cause := fmt.Errorf("after %d of %d frames: %w", frames, spec.Frames, errors.Join(waitErr, writeErr))
	if incomplete := t.incomplete(cause); incomplete != nil {
		return incomplete
	}
	return t.notEncoded(cause)
}

// notEncoded is the fault of an encoder that failed.
func (t *tool) notEncoded(cause error) error {
	failed := fault.New("encode_failed", "", "The video could not be encoded.").Because(cause)
	limit, ok := errors.AsType[*sandbox.Exceeded](cause)
	switch {
	case ok && limit.Limit == sandbox.Patience:
		failed.Message = fmt.Sprintf("The video encoder stood still for %s and was ended; try again.", limit.Bound)
		return failed.Again()
	case ok:
		failed.Message = fmt.Sprintf("Encoding the video takes more %s than the limit of %s; ask for fewer frames or a smaller size.", limit.Limit, limit.Bound)
	case strings.Contains(t.Said(), "No space left on device"), strings.Contains(t.Said(), "Disk quota exceeded"):
		failed.Message = "The video could not be written: the disk is full. Try again, or give the worker a larger disk."
		return failed.Again()
	case t.Killed():
		return failed.Again()
	}
	return failed
}

func encodeArgs(path string, spec VideoSpec) []string {
	encoder, crf := spec.encoder, spec.CRF
	if encoder == "" {
		encoder = "libx264"
	}
	if crf == 0 {
		crf = defaultCRF
	}
	args := []string{"-nostdin", "-hide_banner", "-loglevel", "error", "-y",
		"-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", fmt.Sprintf("%dx%d", spec.Width, spec.Height), "-framerate", strconv.Itoa(spec.FPS), "-i", "pipe:0"}
	if spec.Audio != nil {
		audio := spec.Audio.info
		args = append(args, untrusted(spec.Audio.path)...)
		// Time stamps are counted anew from the samples, so that gaps and a late start in the file move the sound here
		// exactly as they moved it for the model.
		filter := "asetpts=N/SR/TB,atrim=end=" + strconv.FormatFloat(float64(spec.Frames)/float64(spec.FPS), 'f', 9, 64)
		if audio.Channels > 2 {
			filter = meanOfChannels(audio.Channels) + "," + filter
		}
		args = append(args, "-map", "1:a:0", "-af", filter, "-c:a", "aac", "-b:a", "192k")
		if audio.Rate > 48000 {
			args = append(args, "-ar", "48000")
		}
	}
	// Left to itself, x264 takes three threads for two cores, and so does the conversion of colours: with many cores that is
	// memory without gain.
	if runtime.NumCPU() > 10 {
		args = append(args, "-threads", "16", "-filter_threads", "8")
	}
	// Left to itself, swscale converts with BT.601 and players, which guess BT.709 from the size or the tags, show other colours.
	return append(args, "-map", "0:v:0", "-c:v", encoder, "-preset", "medium", "-crf", strconv.Itoa(crf), "-fps_mode", "passthrough",
		"-vf", "scale=in_range=pc:out_range=tv:out_color_matrix=bt709:flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp,format=yuv420p",
		"-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv",
		"-map_metadata", "-1", "-map_chapters", "-1", "-movflags", "+faststart", "-f", "mp4", "file:"+path)
}

// brokenPipe marks a failed write to ffmpeg, whose exit status and last words tell more.
type brokenPipe struct{ err error }

func (b *brokenPipe) Error() string { return b.err.Error() }
func (b *brokenPipe) Unwrap() error { return b.err }

// feed writes all frames and returns how many. The encoder is given patience while it has a frame to take, and no
// blame while the next one is being made.
func feed(ctx context.Context, t *tool, w io.Writer, spec VideoSpec, next func() ([]byte, error)) (frames int, err error) {
	failed := func(message string, args ...any) error {
		return fault.New("encode_failed", "", "The frames do not fit the announced video.").Because(fmt.Errorf(message, args...))
	}
	size := spec.Width * spec.Height * 3
	for {
		if err := ctx.Err(); err != nil {
			return frames, err
		}
		t.Alive(0)
		frame, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return frames, err
		}
		if len(frame) != size {
			return frames, failed("frame %d has %d bytes, not %d", frames, len(frame), size)
		}
		if frames == spec.Frames {
			return frames, failed("more than %d frames", spec.Frames)
		}
		t.Alive(patient())
		if _, err := w.Write(frame); err != nil {
			return frames, &brokenPipe{err}
		}
		frames++
	}
	if frames != spec.Frames {
		return frames, failed("%d frames, not %d", frames, spec.Frames)
	}
	return frames, nil
}
