package nn

import (
	"math"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
)

// A 3×3 convolution as Winograd has it (Lavin and Gray 2016, F(4×4, 3×3)): a tile of 4×4 results is Aᵀ[(G w Gᵀ) ∘ (Bᵀ d B)]A of
// the 6×6 values d that it depends on. The sum over the channels comes before the last transform, so it is 36 products of
// matrices with a quarter of the multiplications.
const (
	tile   = 4        // edge of a tile of results
	edge   = 3        // of a kernel
	window = tile + 2 // edge of what a tile depends on
	values = window * window
	bands  = 128 << 20 // bytes of transformed arguments and results that are alive at a time
)

// winogradPoints are where the polynomials are taken whose product the convolution is, infinity being the sixth. All numbers of A
// and B are exact in float32, and the result is off by 0.2 to 0.4 of what the usual points 0, ±1, ±2 give.
var winogradPoints = [...]float64{0, 5. / 8, -5. / 8, 3. / 2, -3. / 2}

// winogradMatrices are Aᵀ [4, 6], Bᵀ [6, 6] and G [6, 3] (Toom and Cook): G and A evaluate polynomials with 3 and 4 coefficients,
// Bᵀ is the transpose of the interpolation.
func winogradMatrices() (a, b, kernel [][]float64) {
	const last = window - 1 // infinity
	a, b, kernel = matrix(tile, window), matrix(window, window), matrix(window, edge)
	a[tile-1][last], kernel[last][edge-1] = 1, 1
	for i := range window {
		others, scale := []float64{1}, 1.0 // coefficients of ∏(x-q) over the other points, and its value at the point
		for k, q := range winogradPoints {
			if k == i {
				continue
			}
			longer := make([]float64, len(others)+1)
			for n, c := range others {
				longer[n+1] += c
				longer[n] -= c * q
			}
			others = longer
			if i < last {
				scale *= winogradPoints[i] - q
			}
		}
		copy(b[i], others)
		if i < last {
			for n := range tile {
				a[n][i] = math.Pow(winogradPoints[i], float64(n))
			}
			for n := range edge {
				kernel[i][n] = math.Pow(winogradPoints[i], float64(n)) / scale
			}
		}
	}
	return a, b, kernel
}

func matrix(rows, columns int) [][]float64 {
	m := make([][]float64, rows)
	for i := range m {
		m[i] = make([]float64, columns)
	}
	return m
}

// twice is m⊗m, the transform of both axes of values that lie in one row: row (i, k) and column (n, l) hold m[i][n]·m[k][l].
func twice(g *graph.Graph, m [][]float64, shape ...int64) graph.Value {
	var data []float32
	for _, a := range m {
		for _, b := range m {
			for _, x := range a {
				for _, y := range b {
					data = append(data, float32(x*y))
				}
			}
		}
	}
	return g.Float32s(shape, data...)
}

// takesWinograd reports whether the 3×3 convolution of x [1, C, H, W] to out channels, of C·frames in all, is to be
// computed by winograd.
func takesWinograd(g *graph.Graph, x graph.Value, frames, out int64) bool {
	if g.Decomposed() || x.DType != checkpoint.F32 {
		return false
	}
	switch g.Winograd() {
	case graph.WinogradAlways:
		return true
	case graph.WinogradWherePays:
		return winogradPays(frames*x.Dim(1), out, tiles(x.Dim(2))*tiles(x.Dim(3)))
	default:
		return false
	}
}

// winogradPays compares multiplications. Those of the transforms count for more: measured, the small matrices run at a third and
// at half of the speed of large ones, and the weight's transform, once for all tiles, takes as long as 56 tiles (2–5 % of the
// published VAE: not worth the 1.2 GB that it would take to keep). A tenth must be won.
func winogradPays(in, out, tiles int64) bool {
	products := values * in * out * (tiles + 56)
	transforms := values * (3*values*in + 2*tile*tile*out) * tiles
	direct := tile * tile * edge * edge * in * out * tiles
	return 10*(products+transforms) < 9*direct
}

func tiles(pixels int64) int64 { return (pixels + tile - 1) / tile }

// winograd is the convolution of frames, each [1, C, H, W], with weight [O, C·frames, 3, 3] (frames fastest) and bias [O]: [1, O,
// H, W], the border being zero. Sizes that are no multiple of 4 are filled up with zeros, and what is too much is cut off.
//
// The picture is cut into bands of rows, so that the transformed values, 2¼ times as many as those that come in and go out, are
// never there all at once.
func winograd(g *graph.Graph, frames []graph.Value, weight, bias graph.Value) graph.Value {
	out, in := weight.Dim(0), weight.Dim(1)
	height, width := frames[0].Dim(2), frames[0].Dim(3)
	across, down := tiles(width), tiles(height)
	a, b, k := winogradMatrices()
	kernel := g.Linear(twice(g, k, values, edge*edge), g.Reshape(weight, out*in, edge*edge), graph.Value{})
	kernel = g.Reshape(kernel, values, out, in)
	// Reshaped here, it is no constant: of one ONNX Runtime makes a convolution in blocks of channels, and needs the values once
	// more in rows.
	arguments := g.Reshape(twice(g, b, values, values), values, 1, window, window)
	most := max(1, bands/(values*(in+out)*across*4)-1) // tiles one above the other; one more is no result
	n := (down + most - 1) / most
	parts := make([]graph.Value, n)
	for i := range n {
		from, to := i*down/n, (i+1)*down/n
		rows := to - from + 1
		x := tallPicture(g, frames, from*tile-1, rows*tile)
		x = g.Conv(x, arguments, graph.Value{}, graph.ConvOptions{
			Strides: []int64{tile, tile}, Pads: []int64{0, 1, window - tile, 1 + across*tile - width}})
		y := g.MatMul(kernel, g.Reshape(x, values, in, rows*across))
		y = g.MatMul(twice(g, a, tile*tile, values), g.Reshape(y, values, out*rows*across))
		y = g.DepthToSpace(g.Reshape(y, 1, tile*tile*out, rows, across), tile)
		parts[i] = g.Slice(g.Slice(y, 2, 0, min(to*tile, height)-from*tile), 3, 0, width)
	}
	return g.Add(g.Concat(2, parts...), g.Reshape(bias, 1, out, 1, 1))
}

// tallPicture is the rows from…from+rows of all channels of all frames as one picture, one channel above the other, [1, 1,
// C·frames·rows, W]: so one convolution transforms them all, and leaves them as the products take them. Rows outside the frames
// are zero.
//
// The windows of a channel's last tile reach into the next channel: that tile is no result.
func tallPicture(g *graph.Graph, frames []graph.Value, from, rows int64) graph.Value {
	channels, height, width := frames[0].Dim(1), frames[0].Dim(2), frames[0].Dim(3)
	lo, hi := max(0, from), min(height, from+rows-(tile-2))
	var columns []graph.Value
	add := func(x graph.Value) { columns = append(columns, g.Reshape(x, channels, -1)) }
	for _, f := range frames {
		if above := lo - from; above > 0 {
			add(g.Zeros(channels, above*width))
		}
		add(g.Slice(f, 2, lo, hi))
		add(g.Zeros(channels, (from+rows-hi)*width))
	}
	return g.Reshape(g.Concat(1, columns...), 1, 1, channels*int64(len(frames))*rows, width)
}
