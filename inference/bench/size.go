package bench

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/wan"
)

// Size is the clip that is measured: pixels, and frames as they would be made, 4k+1.
type Size struct {
	Variant       inference.Variant
	Width, Height int
	Frames        int
}

// DefaultFrames are a published clip's, at 25 frames per second.
const DefaultFrames = 97

// edges are the published sizes.
var edges = map[string][2]int{"480p": {832, 480}, "720p": {1280, 720}}

var (
	named   = regexp.MustCompile(`^(1\.7B|17B)-(480p|720p)(?:-(\d{1,4}))?$`)
	measure = regexp.MustCompile(`^(\d{1,5})x(\d{1,5})x(\d{1,4})$`)
	number  = regexp.MustCompile(`^\d{1,6}$`)
)

// ParseSize reads a size: 1.7B-480p, 17B-480p or 17B-720p, with the number of frames behind it if they are not 97
// (1.7B-480p-5); WIDTHxHEIGHTxFRAMES; or a number of tokens. The latter two are of the given variant.
func ParseSize(text string, v inference.Variant) (Size, error) {
	var s Size
	switch {
	case named.MatchString(text):
		m := named.FindStringSubmatch(text)
		s = Size{inference.Variant(m[1]), edges[m[2]][0], edges[m[2]][1], DefaultFrames}
		if m[3] != "" {
			s.Frames, _ = strconv.Atoi(m[3])
		}
	case measure.MatchString(text):
		m := measure.FindStringSubmatch(text)
		s.Variant = v
		for i, n := range []*int{&s.Width, &s.Height, &s.Frames} {
			*n, _ = strconv.Atoi(m[i+1])
		}
	case number.MatchString(text):
		n, _ := strconv.Atoi(text)
		if n%2 != 0 || n < 2 {
			return s, badSize("%d tokens are no two latent frames; give an even number", n)
		}
		s = Size{v, n / 2 * edge, edge, 1} // a clip of one row
	default:
		return s, badSize("%.40q is no size; give one of 1.7B-480p, 17B-480p, 17B-720p (with -FRAMES behind it for less than %d), "+
			"WIDTHxHEIGHTxFRAMES or a number of tokens", text, DefaultFrames)
	}
	if s.Width < edge || s.Height < edge || s.Width%edge != 0 || s.Height%edge != 0 {
		return s, badSize("%dx%d is no size in multiples of %d pixels", s.Width, s.Height, edge)
	}
	if s.Frames < 1 || s.Frames%wan.TemporalStride != 1 {
		return s, badSize("a clip of %d frames is not made; give 1 frame more than a multiple of %d", s.Frames, wan.TemporalStride)
	}
	if s.Variant != inference.Variant1B && s.Variant != inference.Variant17B {
		return s, fault.New("bad_variant", "", "%.20q is no variant; give %s or %s", string(s.Variant),
			inference.Variant1B, inference.Variant17B)
	}
	return s, nil
}

// edge is that of a token in pixels.
const edge = 2 * wan.SpatialStride

func badSize(format string, args ...any) error { return fault.New("bad_size", "size", format, args...) }

// grid is what the transformer sees: the clip's latent frames and one of a reference picture.
func (s Size) grid() wan.Grid {
	h, w := s.Height/wan.SpatialStride, s.Width/wan.SpatialStride
	return wan.Grid{Frames: int64(wan.LatentFrames(s.Frames) + 1), Height: int64(h), Width: int64(w)}
}

func (s Size) String() string {
	frames := "1 frame"
	if s.Frames > 1 {
		frames = fmt.Sprintf("%d frames", s.Frames)
	}
	return fmt.Sprintf("%dx%d, %s", s.Width, s.Height, frames)
}

// Tokens is the number of patches that the transformer attends.
func (s Size) Tokens() int { return int(s.grid().Tokens()) }
