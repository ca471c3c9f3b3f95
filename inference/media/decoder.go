package media

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/sandbox"
)

// DecodeImage decodes a JPEG, PNG, WebP, GIF (first frame) or BMP file to the bytes that Pillow's convert("RGB") gives,
// because the model saw its references through Pillow: alpha is dropped, not composited. Two decisions differ on
// purpose: EXIF orientation is honoured, so that a phone's portrait does not lie on its side, and 16-bit grey is scaled
// instead of clipped to white. JPEG differs by at most 3 of 255, since the inverse DCT is another one.
//
// It is done in a process of its own, which sees nothing but the file; a cancelled context ends it.
// Faults: image_unsupported, image_too_large, image_undecodable, media_limit, media_stuck and media_killed (the last two
// retryable), all with the field "images".
func (l Limits) DecodeImage(ctx context.Context, path string) (*Picture, error) {
	l = l.orDefault()
	path, policy, err := reading(path)
	if err != nil {
		return nil, fault.New("image_undecodable", imageField, "The image file cannot be read.").Because(err)
	}
	policy.Memory, policy.CPU = l.memory(), pictureCPU
	c := pictureDecoder.Command(ctx, policy, path, strconv.FormatInt(l.ImageBytes, 10), strconv.FormatInt(l.ImagePixels, 10))
	defer c.Close()
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		if cancelled := interrupted(ctx, "decode image"); cancelled != nil {
			return nil, cancelled
		}
		return nil, fault.New("media_stuck", imageField, "The decoder of pictures cannot be started; humo-worker doctor says more.").Again().Because(err)
	}
	p, readErr := l.receive(out)
	waitErr := c.Wait()
	if cancelled := interrupted(ctx, "decode image"); cancelled != nil {
		return nil, cancelled
	}
	if waitErr != nil {
		if err := stopped(c, "image", imageField, waitErr); err != nil {
			return nil, err
		}
		return nil, garbled.Because(waitErr)
	}
	return p, readErr
}

// DecodeImage decodes the file with the default limits.
func DecodeImage(ctx context.Context, path string) (*Picture, error) {
	return Limits{}.DecodeImage(ctx, path)
}

const pictureCPU = time.Minute // fifty million pixels, a progressive JPEG with hundreds of scans, take some ten seconds

// memory is what decoding may take: of a pixel, 8 bytes of 16-bit RGBA or 16 of a progressive JPEG's coefficients, the RGB
// bytes twice where it is turned, and as much again for Go's collector to work with.
func (l Limits) memory() int64 { return 256*mebibyte + 2*l.ImageBytes + 36*l.ImagePixels }

// answer is what the decoder writes in front of the bytes of the picture, on a line of its own.
type answer struct {
	Width, Height int
	Fault         *fault.Error `json:",omitempty"` // instead of a picture
	Cause         string       `json:",omitempty"` // of the fault
}

// pictureDecoder is the program that decodes one file: PATH BYTES PIXELS, the last two being the limits.
var pictureDecoder = sandbox.Program("picture", func(args []string) int {
	if err := sendPicture(os.Stdout, args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
})

func sendPicture(out io.Writer, args []string) error {
	if len(args) != 3 {
		return errors.New("three arguments are needed")
	}
	var l Limits
	var errBytes, errPixels error
	l.ImageBytes, errBytes = strconv.ParseInt(args[1], 10, 64)
	l.ImagePixels, errPixels = strconv.ParseInt(args[2], 10, 64)
	if err := errors.Join(errBytes, errPixels); err != nil {
		return err
	}
	debug.SetMemoryLimit(l.memory() / 8 * 7)
	data, err := readRegular(args[0], l.ImageBytes)
	var p *Picture
	if err == nil {
		p, err = l.decodeImage(data)
	}
	if err != nil {
		f, ok := errors.AsType[*fault.Error](err)
		if !ok {
			return err
		}
		a := answer{Fault: f}
		if f.Err != nil {
			a.Cause = f.Err.Error()
		}
		f.Err = nil // an interface, which JSON cannot carry
		return json.NewEncoder(out).Encode(a)
	}
	if err := json.NewEncoder(out).Encode(answer{Width: p.Width, Height: p.Height}); err != nil {
		return err
	}
	_, err = out.Write(p.RGB)
	return err
}

var garbled = fault.New("image_undecodable", imageField, "The image made its decoder fail. Save it again as PNG or JPEG.")

// receive reads what the decoder writes, and believes none of it.
func (l Limits) receive(r io.Reader) (*Picture, error) {
	in := bufio.NewReaderSize(io.LimitReader(r, 1<<16+3*l.ImagePixels), 1<<16)
	line, err := in.ReadSlice('\n')
	if err != nil {
		return nil, garbled.Because(err)
	}
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		return nil, garbled.Because(err)
	}
	if a.Fault != nil {
		if a.Cause != "" {
			return nil, a.Fault.Because(errors.New(a.Cause))
		}
		return nil, a.Fault
	}
	if a.Width <= 0 || a.Height <= 0 || int64(a.Width) > l.ImagePixels/int64(a.Height) {
		return nil, garbled.Because(fmt.Errorf("a picture of %dx%d pixels", a.Width, a.Height))
	}
	p := &Picture{Width: a.Width, Height: a.Height, RGB: make([]uint8, 3*a.Width*a.Height)}
	if _, err := io.ReadFull(in, p.RGB); err != nil {
		return nil, garbled.Because(err)
	}
	return p, nil
}
