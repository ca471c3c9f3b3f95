package sampler

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Known answers published with Random123 (kat_vectors, "philox4x32 10").
func TestPhiloxKnownAnswers(t *testing.T) {
	const all = math.MaxUint32
	for _, c := range []struct {
		counter [4]uint32
		key     [2]uint32
		want    [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{all, all, all, all}, [2]uint32{all, all}, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := philox4x32(c.key, c.counter); got != c.want {
			t.Errorf("counter %08x key %08x: got %08x, want %08x", c.counter, c.key, got, c.want)
		}
	}
}

func TestBlockUsesAllOfSeedAndCounter(t *testing.T) {
	want := philox4x32([2]uint32{0x03020100, 0x07060504}, [4]uint32{0x13121110, 0x17161514, 0, 0})
	if got := block(0x0706050403020100, 0x1716151413121110); got != want {
		t.Errorf("got %08x, want %08x", got, want)
	}
}

// The mapping of the package comment, written out once more in another way.
func TestNoiseFollowsItsDefinition(t *testing.T) {
	const seed = 0x0123456789abcdef
	got := Noise(seed, 1001)
	for j := range 500 {
		w := philox4x32([2]uint32{0x89abcdef, 0x01234567}, [4]uint32{uint32(j), 0, 0, 0})
		u := math.Ldexp(float64(uint64(w[1])<<20+uint64(w[0])>>12), -52) + 0x1p-53
		v := math.Ldexp(float64(uint64(w[3])<<20+uint64(w[2])>>12), -52) + 0x1p-53
		r := math.Sqrt(-2 * math.Log(u))
		if d := math.Abs(float64(got[2*j]) - r*math.Cos(2*math.Pi*v)); d > 1e-6 {
			t.Fatalf("value %d is off by %v", 2*j, d)
		}
		if d := math.Abs(float64(got[2*j+1]) - r*math.Sin(2*math.Pi*v)); d > 1e-6 {
			t.Fatalf("value %d is off by %v", 2*j+1, d)
		}
	}
}

// Videos can only be made again if these bits never change.
func TestNoiseNeverChanges(t *testing.T) {
	h := sha256.New()
	if err := binary.Write(h, binary.LittleEndian, Noise(666666, 100_000)); err != nil {
		t.Fatal(err)
	}
	const want = "b860819cf836ec6a79581e07805250728d18ff7ffffb880944397261fb18a498"
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("noise of seed 666666 has SHA-256 %s, want %s (starts %v)", got, want, Noise(666666, 4))
	}
}

func TestShorterNoiseIsAPrefix(t *testing.T) {
	long := Noise(42, 1000)
	for _, n := range []int{0, 1, 2, 3, 999} {
		if diff := cmp.Diff(long[:n], Noise(42, n)); diff != "" {
			t.Errorf("%d values: %s", n, diff)
		}
	}
}

func TestSeedsDiffer(t *testing.T) {
	seen := map[float32]uint64{}
	for _, seed := range []uint64{0, 1, 2, 1 << 32, 1<<32 + 1, 1 << 63, math.MaxUint64} {
		first := Noise(seed, 1)[0]
		if other, ok := seen[first]; ok {
			t.Errorf("seeds %d and %d both start with %v", seed, other, first)
		}
		seen[first] = seed
	}
}

func TestOpenUniformStaysOpen(t *testing.T) {
	low, high := openUniform(0, 0), openUniform(math.MaxUint32, math.MaxUint32)
	if low != 0x1p-53 || high != 1-0x1p-53 {
		t.Errorf("ends are %v and %v", low, high)
	}
}

// Moments, neighbours' correlation and the distribution function (Kolmogorov–Smirnov), each within five standard
// errors of a true standard normal; the seeds are fixed, so the outcome is too.
func TestNoiseIsStandardNormal(t *testing.T) {
	const n = 400_000
	for _, seed := range []uint64{0, 666666, math.MaxUint64} {
		z := Noise(seed, n)
		var m1, m2, m3, m4, neighbour, pair float64
		for i, f := range z {
			x := float64(f)
			m1, m2, m3, m4 = m1+x/n, m2+x*x/n, m3+x*x*x/n, m4+x*x*x*x/n
			neighbour += x * float64(z[(i+1)%n]) / n
			pair += x * x * float64(z[(i+1)%n]) * float64(z[(i+1)%n]) / n
		}
		for name, c := range map[string]struct{ got, want, variance float64 }{
			"mean": {m1, 0, 1}, "variance": {m2, 1, 2}, "third moment": {m3, 0, 15}, "fourth moment": {m4, 3, 96},
			"neighbours' product": {neighbour, 0, 1}, "neighbours' squares": {pair, 1, 8},
		} {
			if limit := 5 * math.Sqrt(c.variance/n); math.Abs(c.got-c.want) > limit {
				t.Errorf("seed %d: %s is %v, want %v within %v", seed, name, c.got, c.want, limit)
			}
		}
		slices.Sort(z)
		distance := 0.0
		for i, f := range z {
			cdf := 0.5 * math.Erfc(-float64(f)/math.Sqrt2)
			distance = max(distance, math.Abs(cdf-(float64(i)+0.5)/n))
		}
		if limit := 1.95 / math.Sqrt(n); distance > limit { // 0.1 % point
			t.Errorf("seed %d: distribution is off by %v, limit %v", seed, distance, limit)
		}
	}
}

func BenchmarkNoise(b *testing.B) {
	for b.Loop() {
		Noise(1, 16*26*60*104) // 97 frames and one reference at 832x480
	}
}
