package media

// Letterbox fits the picture into width x height as the model's reference images were fitted in training: the ratio is
// kept (small pictures grow, too), the new size truncated, the rest padded with white on both sides.
// It returns bytes of shape [height, width, 3]. Spec §5.
func Letterbox(p *Picture, width, height int) []uint8 {
	ratio := float64(p.Width) / float64(p.Height)
	w, h := width, height
	if ratio > float64(width)/float64(height) {
		h = int(float64(width) / ratio)
	} else {
		w = int(float64(height) * ratio)
	}
	w, h = max(w, 1), max(h, 1) // a line a thousand times longer than wide is still a line; the reference fails on it
	fitted := p.resize(w, h)
	left, top := (width-w)/2, (height-h)/2
	out := make([]uint8, width*height*3)
	for i := range out {
		out[i] = 255
	}
	for y := range h {
		copy(out[((top+y)*width+left)*3:], fitted.row(y))
	}
	return out
}

// Normalize turns bytes of shape [height, width, 3] into values in [-1, 1] of shape [3, 1, height, width], which is a
// one-frame video for the VAE. Each step rounds to float32, as torchvision's ToTensor and Normalize(0.5, 0.5) do.
func Normalize(rgb []uint8, width, height int) []float32 {
	n := width * height
	out := make([]float32, 3*n)
	for i := range n {
		for c := range 3 {
			out[c*n+i] = (float32(rgb[3*i+c])/255 - 0.5) / 0.5
		}
	}
	return out
}
