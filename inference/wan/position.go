package wan

import "math"

// RotaryTables returns the cosines and sines [tokens, 64] of every token's angles. Of a head's 64 pairs 22 turn with the
// frame, 21 with the row and 21 with the column. Angles are float32, as in HuMo and unlike Wan, whose tables are float64
// (reference: rope_params).
func RotaryTables(size Grid) (cos, sin []float32) {
	h, w := size.Height/patch, size.Width/patch
	cos, sin = make([]float32, 0, size.Tokens()*HeadDim/2), make([]float32, 0, size.Tokens()*HeadDim/2)
	for f := range size.Frames {
		for y := range h {
			for x := range w {
				cos, sin = appendAngles(cos, sin, f, y, x)
			}
		}
	}
	return cos, sin
}

// RotaryRow is the row [64] of a single position.
func RotaryRow(frame, row, column int64) (cos, sin []float32) {
	return appendAngles(nil, nil, frame, row, column)
}

// appendAngles appends the 64 cosines and sines of one position.
func appendAngles(cos, sin []float32, frame, row, column int64) ([]float32, []float32) {
	const pairs = HeadDim / 2
	spatial := pairs / 3
	for _, axis := range []struct {
		position int64
		pairs    int
	}{{frame, pairs - 2*spatial}, {row, spatial}, {column, spatial}} {
		for k := range axis.pairs {
			inverse := 1 / float32(math.Pow(10000, float64(float32(2*k)/float32(2*axis.pairs))))
			angle := float64(float32(axis.position) * inverse)
			cos, sin = append(cos, float32(math.Cos(angle))), append(sin, float32(math.Sin(angle)))
		}
	}
	return cos, sin
}

// TimestepEmbedding is the sinusoid of a timestep in 0…999: dim/2 cosines, then dim/2 sines, computed in float64
// (reference: sinusoidal_embedding_1d).
func TimestepEmbedding(t int64, dim int64) []float32 {
	half := dim / 2
	out := make([]float32, dim)
	for i := range half {
		angle := float64(t) * math.Pow(10000, -float64(i)/float64(half))
		out[i], out[half+i] = float32(math.Cos(angle)), float32(math.Sin(angle))
	}
	return out
}
