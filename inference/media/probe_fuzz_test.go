package media

import (
	"encoding/json"
	"math"
	"testing"
)

// FuzzProbeReport reads any JSON as ffprobe's report. What is made of it is finite, and what is counted is not negative:
// samples and frames are compared with it.
func FuzzProbeReport(f *testing.F) {
	for _, seed := range []string{
		`{"streams": [{"codec_type": "audio", "codec_name": "pcm_s16le", "sample_rate": "44100", "channels": 2, "r_frame_rate": "0/0", "start_time": "0.000000", "duration": "2.5"}], "format": {"duration": "2.500000"}}`,
		`{"streams": [{"codec_type": "video", "width": 832, "height": 480, "r_frame_rate": "30000/1001", "nb_read_frames": "97"}]}`,
		`{"streams": [{"codec_type": "audio", "sample_rate": "nan", "channels": 0}], "format": {"duration": "N/A"}}`,
		`{"format": {"duration": "inf"}}`, `{"format": {"duration": "1e308/1e-308"}}`, `{"streams": [{"codec_type": "audio", "sample_rate": "1e30"}]}`, `{"streams": null}`, `[]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r report
		if json.Unmarshal(b, &r) != nil {
			return
		}
		info := r.info()
		numbers := []float64{info.Duration}
		counts := []int{}
		if v := info.Video; v != nil {
			numbers = append(numbers, v.FPS, v.Start, v.Duration)
			counts = append(counts, v.Frames)
		}
		if a := info.Audio; a != nil {
			numbers = append(numbers, a.Start, a.Duration)
			counts = append(counts, a.Rate)
		}
		for _, v := range numbers {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				t.Fatalf("%s has the number %g", b, v)
			}
		}
		for _, n := range counts {
			if n < 0 {
				t.Fatalf("%s has the count %d", b, n)
			}
		}
		for _, to := range []layout{{SampleRate, 1}, {SeparationRate, 2}} {
			if a := info.Audio; a != nil && a.Rate > 0 && a.Channels > 0 && a.Channels < 1000 {
				if n := len(to.fit(make([]float32, 100), 50, a.Rate)); n < 96 || n > 104 {
					t.Fatalf("%s: 100 samples become %d", b, n)
				}
			}
		}
	})
}
