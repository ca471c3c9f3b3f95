package bench

import (
	"fmt"
	"slices"
)

// Spread is what repeated measurements gave.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Runs   int     `json:"runs"`
}

// spreadOf sums up values; of an even number, the median is the lower of the middle two.
func spreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	v := slices.Sorted(slices.Values(values))
	return Spread{v[(len(v)-1)/2], v[0], v[len(v)-1], len(v)}
}

// unit is what its seconds are best told in.
func (s Spread) unit() (unit string, scale float64) {
	if s.Median < 0.1 {
		return "ms", 1000
	}
	return "s", 1
}

// plain says the median in words.
func (s Spread) plain() string {
	unit, scale := s.unit()
	return fmt.Sprintf("%s %s", digits(scale*s.Median), unit)
}

// seconds says it in words.
func (s Spread) seconds() string {
	unit, scale := s.unit()
	if s.Runs == 1 {
		return fmt.Sprintf("%s %s (1 run)", digits(scale*s.Median), unit)
	}
	return fmt.Sprintf("%s %s (%s..%s, %d runs)", digits(scale*s.Median), unit, digits(scale*s.Min), digits(scale*s.Max), s.Runs)
}

// digits has three that count, or all before the point.
func digits(x float64) string {
	switch {
	case x >= 99.95:
		return fmt.Sprintf("%.0f", x)
	case x >= 9.995:
		return fmt.Sprintf("%.1f", x)
	case x >= 0.0995:
		return fmt.Sprintf("%.2f", x)
	}
	return fmt.Sprintf("%.3g", x)
}

// quantity is a number with a prefix of the unit.
func quantity(x float64, unit string) string {
	for _, prefix := range []string{"", "k", "M", "G", "T"} {
		if x < 1000 {
			return digits(x) + " " + prefix + unit
		}
		x /= 1000
	}
	return digits(x) + " P" + unit
}
