package inference

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/gpu"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/plan"
)

// DeviceConfig says what computes, and in which type.
type DeviceConfig struct {
	// GPUs are the cards that compute: auto for all that can be used and the CPU where there are none, none for the CPU, or
	// numbers such as 0,1, which must be there. The guidance passes of a step run side by side on them; one pass is not
	// split.
	GPUs gpu.Choice `env:"HUMO_GPUS" envDefault:"auto"`

	// MaxGPUs is how many cards auto means at most; 0: all. HUMO_CONFIG's dit.sp_size sets it, no variable does.
	MaxGPUs int

	// DType is the type in which the transformer computes: auto, fp32, fp16 or bf16. The CPU has fp32 only; there, the
	// others are rounded as a card would, which is slow and serves tests.
	DType DType `env:"HUMO_DTYPE" envDefault:"auto"`
}

// Validate reports a value that can work nowhere; whether the cards are there is told when an engine is opened.
func (c DeviceConfig) Validate() error {
	if err := c.GPUs.Validate(); err != nil {
		return err
	}
	if _, known := types[c.DType]; !known {
		return fault.New("invalid_setting", "HUMO_DTYPE", "is %.40q; set it to %s, %s, %s or %s", string(c.DType), DTypeAuto, FP32, FP16, BF16)
	}
	return nil
}

// DType names a type of numbers.
type DType string

// The values of HUMO_DTYPE. Auto, and the empty one: fp32 on the CPU; on cards bf16 if all of them have it, else fp16.
const (
	DTypeAuto DType = "auto"
	FP32      DType = "fp32"
	FP16      DType = "fp16"
	BF16      DType = "bf16"
)

var types = map[DType]checkpoint.DType{
	"": checkpoint.Invalid, DTypeAuto: checkpoint.Invalid, FP32: checkpoint.F32, FP16: checkpoint.F16, BF16: checkpoint.BF16,
}

// on resolves auto, and refuses what the cards cannot do.
func (d DType) on(cards []gpu.Card) (checkpoint.DType, error) {
	lacking := slices.IndexFunc(cards, func(c gpu.Card) bool { return !c.BF16() })
	switch t := types[d]; {
	case t == checkpoint.BF16 && lacking >= 0:
		return t, fault.New("invalid_setting", "HUMO_DTYPE", "%s does not compute in bf16; set it to %s or %s, or leave the card out of HUMO_GPUS", cards[lacking], FP16, DTypeAuto)
	case t != checkpoint.Invalid:
		return t, nil
	case len(cards) == 0:
		return checkpoint.F32, nil
	case lacking >= 0:
		return checkpoint.F16, nil
	}
	return checkpoint.BF16, nil
}

// nameOf is the value of HUMO_DTYPE that means a type.
func nameOf(t checkpoint.DType) DType {
	for name, known := range types {
		if known == t && name != "" {
			return name
		}
	}
	return DTypeAuto
}

// device is a place where networks run: the CPU or a card.
type device struct {
	place ort.Place
	card  *gpu.Card        // nil: the CPU
	dtype checkpoint.DType // in which the transformer computes

	// mapped: weights are pages of their files, and clips may share the device. Else they are copied to it, a clip has the
	// device for itself, and a plan says what of them stays on the networks' shelves.
	mapped  bool
	shelves map[plan.Network]*ort.Shelf
	plan    *plan.Plan // the one in effect
}

// cpu is the CPU as a device.
func cpu(dtype checkpoint.DType) *device {
	return &device{dtype: dtype, mapped: dtype == checkpoint.F32}
}

func (d *device) String() string {
	if d.card == nil {
		return "CPU"
	}
	return d.card.String()
}

// openDevices decides what computes. The first device runs all networks, the others passes of the transformer. Where cards
// are not asked for by number, it is the CPU if none can be used.
func openDevices(c DeviceConfig, find func() gpu.Found, rt *ort.Runtime, log zerolog.Logger) ([]*device, error) {
	cards, err := chooseCards(c, find, log)
	if err != nil {
		return nil, err
	}
	if len(cards) > 0 {
		list, err := openCards(c.DType, cards, rt)
		if err == nil {
			return list, nil
		}
		if c.GPUs.Certain() || fault.CodeOf(err) != "cuda_missing" {
			return nil, err
		}
		log.Warn().AnErr("reason", err).Int("cards", len(cards)).Msg("There are cards, but this ONNX Runtime cannot use them; the CPU computes.")
	}
	dtype, err := c.DType.on(nil)
	if err != nil {
		return nil, err
	}
	d := cpu(dtype)
	return []*device{d}, d.open(rt)
}

// chooseCards finds the cards that the settings mean.
func chooseCards(c DeviceConfig, find func() gpu.Found, log zerolog.Logger) ([]gpu.Card, error) {
	if c.GPUs == gpu.None {
		return nil, nil
	}
	found := find()
	cards, passed, err := c.GPUs.Choose(found, c.MaxGPUs)
	for _, reason := range passed {
		log.Warn().AnErr("reason", reason).Msg("A card is not used.")
	}
	if err == nil && len(cards) == 0 {
		log.Debug().AnErr("reason", found.Reason).Msg("There is no card to compute on; the CPU does.")
	}
	return cards, err
}

// openCards opens cards as devices of one type.
func openCards(d DType, cards []gpu.Card, rt *ort.Runtime) (list []*device, err error) {
	dtype, err := d.on(cards)
	if err != nil {
		return nil, err
	}
	for _, card := range cards {
		d := &device{place: ort.Place{Kind: ort.CUDA, Device: card.Ordinal}, card: &card, dtype: dtype}
		if err := d.open(rt); err != nil {
			return nil, errors.Join(err, closeDevices(list))
		}
		list = append(list, d)
	}
	return list, nil
}

// open puts up the shelves of a device that needs some: a card that ONNX Runtime cannot use fails with "cuda_missing".
func (d *device) open(rt *ort.Runtime) (err error) {
	if d.mapped {
		return nil
	}
	d.shelves = map[plan.Network]*ort.Shelf{}
	for _, n := range plan.Networks {
		if d.shelves[n], err = rt.NewShelf(d.place); err != nil {
			return err
		}
	}
	return nil
}

// closeDevices frees what lies on devices.
func closeDevices(list []*device) error {
	var err error
	for _, d := range list {
		for _, s := range d.shelves {
			err = errors.Join(err, s.Close())
		}
	}
	return err
}

// computes is the type in which a network computes here. As in the original, the transformer and the text encoder may have
// 16 bits, the VAE and the audio encoder have 32.
func (d *device) computes(n plan.Network) checkpoint.DType {
	switch {
	case n == plan.DiT, n == plan.Text && d.dtype == checkpoint.BF16:
		return d.dtype
	}
	return checkpoint.F32
}

// site is where the sessions of one network are made, and how.
type site struct {
	rt        *ort.Runtime
	network   plan.Network
	device    *device
	decompose bool
}

// site places a network. All are on the first device, but the text encoder if that computes in fp16: UMT5's values
// overflow it, and in float32 it is larger than most cards. Then the CPU runs it, from its mapped file.
func (e *Engine) site(n plan.Network) site {
	s := site{rt: e.rt, network: n, device: e.devices[0], decompose: e.decompose}
	if n == plan.Text && s.device.dtype != checkpoint.BF16 {
		s.device = e.cpu
	}
	return s
}

func (s site) String() string { return fmt.Sprintf("%s in %s on %s", s.network, s.compute(), s.device) }

// compute is the type in which the network computes.
func (s site) compute() checkpoint.DType { return s.device.computes(s.network) }

// upload brings a tensor over Go's memory to the device; to the CPU that is the tensor itself. The caller closes the result.
func (s site) upload(ctx context.Context, t *ort.Tensor) (*ort.Tensor, error) {
	if s.device.place.Kind == ort.CPU {
		return t, nil
	}
	return s.rt.Upload(ctx, t, s.device.place)
}

// chain makes the sessions of a network, or of a part of it, as the device and the plan in effect want it; of o, Join and
// Keep are the caller's.
func (s site) chain(n *graph.Network, o ort.ChainOptions) (*ort.Chain, error) {
	o.Decompose, o.Place, o.Compute, o.Shelf = s.decompose, s.device.place, s.compute(), s.device.shelves[s.network]
	o.Join = o.Join && s.device.mapped
	if p := s.device.plan; p != nil {
		if s.network == plan.DiT {
			o.Groups = int(p.Groups)
		}
		o.StateOnHost = s.network == plan.VAE && p.Memories == plan.OnHost
	}
	return s.rt.NewChain(n, o)
}

// Machine is what computes here.
func (e *Engine) Machine() Machine {
	m := Host()
	m.DType, m.Provider = nameOf(e.devices[0].dtype), "CPU"
	if e.devices[0].card != nil {
		m.Provider, m.Driver = "CUDA", e.devices[0].card.Driver
		names := make([]string, len(e.devices))
		for i, d := range e.devices {
			names[i] = d.card.Name
		}
		m.Device = counted(names)
	}
	return m
}

// counted lists names, equal ones once: "2 x NVIDIA L40S, NVIDIA A40".
func counted(names []string) (text string) {
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			continue
		}
		n := 0
		for _, other := range names {
			if other == name {
				n++
			}
		}
		if text != "" {
			text += ", "
		}
		if n > 1 {
			text += fmt.Sprintf("%d x ", n)
		}
		text += name
	}
	return text
}
