package gpu

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// model is a card that the mocked driver has.
type model struct {
	name         string
	major, minor int
	gigabytes    int64
}

var (
	t4   = model{"Tesla T4", 7, 5, 16}
	v100 = model{"Tesla V100", 7, 0, 32}
	a100 = model{"NVIDIA A100-SXM4-80GB", 8, 0, 80}
	l40  = model{"NVIDIA L40S", 8, 9, 48}
	h100 = model{"NVIDIA H100", 9, 0, 80}
	b200 = model{"NVIDIA B200", 10, 0, 180}
	r50  = model{"NVIDIA GeForce RTX 5090", 12, 0, 32}
)

// machine is a driver with cards. The UUID of card i is GPU-i000, of its MIG slice MIG-i000.
type machine struct {
	cards []*fakeCard
	lost  bool // its cards cannot be reached
}

type fakeCard struct {
	model
	id string
}

func driverOf(models ...model) *machine {
	m := &machine{}
	for i, k := range models {
		m.cards = append(m.cards, &fakeCard{k, fmt.Sprintf("GPU-%d000", i)})
	}
	return m
}

var errLost = errors.New("GPU is lost")

func (m *machine) version() (string, error) { return "580.95.05", nil }
func (m *machine) count() (int, error)      { return len(m.cards), nil }
func (m *machine) close()                   {}

func (m *machine) device(i int) (device, error) {
	if m.lost {
		return nil, errLost
	}
	return m.cards[i], nil
}

func (m *machine) named(uuid string) (device, error) {
	for _, c := range m.cards {
		if slice := strings.Replace(c.id, "GPU", "MIG", 1); slice == uuid {
			return &fakeCard{model{c.model.name + " MIG 1g.10gb", c.major, c.minor, 10}, slice}, nil
		}
	}
	return nil, errLost
}

func (c *fakeCard) name() (string, error) { return c.model.name, nil }
func (c *fakeCard) uuid() (string, error) { return c.id, nil }
func (c *fakeCard) memory() (total, free int64, err error) {
	return c.gigabytes << 30, (c.gigabytes - 1) << 30, nil
}
func (c *fakeCard) capability() (major, minor int, err error) { return c.major, c.minor, nil }

func TestCardsOfADriver(t *testing.T) {
	f := find(driverOf(l40, t4), "", false)
	if f.Driver != "580.95.05" || len(f.Cards) != 2 || f.Reason != nil {
		t.Fatalf("found %+v", f)
	}
	want := Card{Ordinal: 0, Name: "NVIDIA L40S", UUID: "GPU-0000", Total: 48 << 30, Free: 47 << 30, Major: 8, Minor: 9, Driver: "580.95.05"}
	if f.Cards[0] != want || !f.Cards[0].BF16() || f.Cards[0].String() != "GPU 0, NVIDIA L40S (sm_89)" {
		t.Errorf("the first card is %+v, %s", f.Cards[0], f.Cards[0])
	}
	if c := f.Cards[1]; c.Ordinal != 1 || c.BF16() || c.Capability() != "7.5" || !c.Runs() {
		t.Errorf("the second card is %+v", c)
	}
}

// A machine whose driver fails has no cards, and says why.
func TestNoCards(t *testing.T) {
	lost := driverOf(a100, a100)
	lost.lost = true
	for label, d := range map[string]driver{"no card": driverOf(), "a lost card": lost} {
		if f := find(d, "", false); len(f.Cards) > 0 || f.Reason == nil {
			t.Errorf("%s: %+v", label, f)
		}
	}
}

func TestFindOrdersCardsByTheBus(t *testing.T) {
	t.Setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
	Find()
	if order := os.Getenv("CUDA_DEVICE_ORDER"); order != "PCI_BUS_ID" {
		t.Errorf("CUDA_DEVICE_ORDER is %q", order)
	}
}

// CUDA_VISIBLE_DEVICES hides cards and numbers the others anew.
func TestVisibleDevices(t *testing.T) {
	for _, test := range []struct {
		visible string
		want    string // UUIDs in the order of the ordinals
		wrong   bool
	}{
		{"0,1,2", "GPU-0000 GPU-1000 GPU-2000", false},
		{"2, 0", "GPU-2000 GPU-0000", false},
		{"GPU-1", "GPU-1000", false},
		{"GPU-2000,1", "GPU-2000 GPU-1000", false},
		{"MIG-1000", "MIG-1000", false},
		{"0,7,1", "GPU-0000", true}, // as CUDA: what follows an unknown card is hidden
		{"-1", "", true},
		{"", "", true},
		{"NoDevFiles", "", true},
		{"MIG-9999", "", true},
	} {
		f := find(driverOf(l40, l40, l40), test.visible, true)
		var got []string
		for i, c := range f.Cards {
			got = append(got, c.UUID)
			if c.Ordinal != i {
				t.Errorf("%q: the ordinal of %s is %d, want %d", test.visible, c.UUID, c.Ordinal, i)
			}
		}
		if strings.Join(got, " ") != test.want || (f.Reason != nil) != test.wrong {
			t.Errorf("%q: %v, reason %v; want %s", test.visible, got, f.Reason, test.want)
		}
	}
}

func TestChoose(t *testing.T) {
	for _, test := range []struct {
		choice Choice
		most   int
		models []model
		want   string // ordinals, or the fault's code and field
		passed int
	}{
		{"", 0, []model{l40, a100}, "0 1", 0},
		{Auto, 0, []model{v100, h100, b200, r50}, "1 3", 2},
		{Auto, 1, []model{v100, h100, r50}, "1", 1},
		{Auto, 3, []model{h100, r50}, "0 1", 0},
		{Auto, 0, nil, "", 0},
		{None, 0, []model{a100}, "", 0},
		{"1", 0, []model{l40, a100}, "1", 0},
		{"1,0", 0, []model{l40, a100}, "1 0", 0},
		{"1,0", 1, []model{l40, a100}, "1 0", 0}, // who names cards gets them
		{"2", 0, []model{l40, a100}, "no_gpu HUMO_GPUS", 0},
		{"0", 0, nil, "no_gpu HUMO_GPUS", 0},
		{"0", 0, []model{b200}, "unsupported_gpu HUMO_GPUS", 0},
		{"0,0", 0, []model{l40}, "invalid_setting HUMO_GPUS", 0},
		{"first", 0, []model{l40}, "invalid_setting HUMO_GPUS", 0},
		{"0,", 0, []model{l40}, "invalid_setting HUMO_GPUS", 0},
		{"-1", 0, []model{l40}, "invalid_setting HUMO_GPUS", 0},
	} {
		cards, passed, err := test.choice.Choose(find(driverOf(test.models...), "", false), test.most)
		var got []string
		for _, c := range cards {
			got = append(got, fmt.Sprint(c.Ordinal))
		}
		if bad, ok := errors.AsType[*fault.Error](err); ok {
			got = []string{bad.Code, bad.Field}
		}
		if strings.Join(got, " ") != test.want || len(passed) != test.passed {
			t.Errorf("%q of %v: %v, passed over %v; want %s", test.choice, test.models, got, passed, test.want)
		}
		if invalid := test.choice.Validate() != nil; invalid != strings.HasPrefix(test.want, "invalid") {
			t.Errorf("%q: Validate says %v", test.choice, invalid)
		}
	}
}
