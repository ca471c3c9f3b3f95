// Package gpu tells which NVIDIA cards this process may compute on, under the numbers that CUDA gives them, and which of
// them a setting chooses. It asks the driver's management library (NVML), which is loaded when it is needed: a machine
// without a driver has no cards, and that is no error. No card is initialised and none of its memory taken.
//
// It must not know networks or ONNX Runtime's sessions.
package gpu

import (
	"fmt"
	"os"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// Card is a GPU, or a slice of one (MIG).
type Card struct {
	Ordinal      int    `json:"ordinal"` // CUDA's number of it in this process
	Name         string `json:"name"`
	UUID         string `json:"uuid"`
	Total        int64  `json:"total_bytes"`
	Free         int64  `json:"free_bytes"` // of Total, when it was looked at
	Major, Minor int    `json:"-"`          // compute capability
	Driver       string `json:"-"`          // the driver's version
}

// Capability is the compute capability in its usual form, such as 8.9.
func (c Card) Capability() string { return fmt.Sprintf("%d.%d", c.Major, c.Minor) }

// BF16 reports whether the card computes in bfloat16 at full speed: Ampere (8.0) and newer.
func (c Card) BF16() bool { return c.Major >= 8 }

// Runs reports whether the published CUDA build of ONNX Runtime 1.30 holds code for the card: it was built for the
// capabilities 7.5, 8.0, 8.6, 8.9, 9.0 and 12.0, without code that a driver could translate for others, and a card runs
// code of its own major number up to its own minor one. So V100 (7.0) and B200 (10.0) are out.
func (c Card) Runs() bool {
	switch c.Major {
	case 7:
		return c.Minor >= 5
	case 8, 9, 12:
		return true
	}
	return false
}

func (c Card) String() string {
	return fmt.Sprintf("GPU %d, %s (sm_%d%d)", c.Ordinal, c.Name, c.Major, c.Minor)
}

// Found is what a machine has.
type Found struct {
	Driver string // the driver's version; empty without one
	Cards  []Card // in the order of their ordinals
	Reason error  // why there are none, or not all
}

// Find looks for the cards that CUDA shows this process: all, or those that CUDA_VISIBLE_DEVICES names. CUDA numbers cards
// by speed unless it is told otherwise, the driver by their place on the bus; so that both mean the same card, Find sets
// CUDA_DEVICE_ORDER=PCI_BUS_ID for the process and must be called before CUDA is loaded.
func Find() Found {
	if err := os.Setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID"); err != nil {
		return Found{Reason: err}
	}
	d, err := openNVML(library)
	if err != nil {
		return Found{Reason: fault.New("no_gpu", "", "there is no NVIDIA driver here that works; install one, or give the container its GPUs").Because(err)}
	}
	defer d.close()
	visible, limited := os.LookupEnv("CUDA_VISIBLE_DEVICES")
	return find(d, visible, limited)
}

// find asks a driver. limited says that only the cards that visible names are there.
func find(d driver, visible string, limited bool) (f Found) {
	f.Driver, _ = d.version() // a driver that does not say its version still runs
	var devices []device
	devices, f.Reason = visibleDevices(d, visible, limited)
	for ordinal, k := range devices {
		card, err := describe(k, ordinal)
		if err != nil {
			f.Reason = err
			break // the ordinals behind it would be doubtful
		}
		card.Driver = f.Driver
		f.Cards = append(f.Cards, card)
	}
	if len(f.Cards) == 0 && f.Reason == nil {
		f.Reason = fault.New("no_gpu", "", "the NVIDIA driver %s has no card for this process", f.Driver)
	}
	return f
}

func describe(d device, ordinal int) (Card, error) {
	c := Card{Ordinal: ordinal}
	var err error
	for _, ask := range []struct {
		what string
		of   func()
	}{
		{"name", func() { c.Name, err = d.name() }},
		{"UUID", func() { c.UUID, err = d.uuid() }},
		{"memory", func() { c.Total, c.Free, err = d.memory() }},
		{"compute capability", func() { c.Major, c.Minor, err = d.capability() }},
	} {
		if ask.of(); err != nil {
			return c, fault.New("no_gpu", "", "the driver does not tell the %s of GPU %d", ask.what, ordinal).Because(err)
		}
	}
	return c, nil
}
