package bench

import "testing"

func TestSpread(t *testing.T) {
	if got, want := spreadOf([]float64{3, 1, 2}), (Spread{2, 1, 3, 3}); got != want {
		t.Errorf("three values: %+v", got)
	}
	if got, want := spreadOf([]float64{4, 1, 3, 2}), (Spread{2, 1, 4, 4}); got != want {
		t.Errorf("four values: %+v", got)
	}
	for text, s := range map[string]Spread{"12.3 s (1 run)": {12.34, 12.34, 12.34, 1}, "38.9 ms (30.0..50.0, 2 runs)": {0.0389, 0.03, 0.05, 2}} {
		if got := s.seconds(); got != text {
			t.Errorf("%q, want %q", got, text)
		}
	}
	for text, x := range map[string]float64{"54.2 GFLOP": 54.24e9, "1.00 TFLOP": 1e12, "3460 PFLOP": 3.46e18} {
		if got := quantity(x, "FLOP"); got != text {
			t.Errorf("%q, want %q", got, text)
		}
	}
}
