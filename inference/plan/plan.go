// Package plan decides where a clip's bytes lie: which networks stay on the device, which are loaded for their stage and
// dropped after it, whether the transformer streams its blocks, where the VAE keeps its memories. It is a pure function of
// sizes; the figures are in activations.go. A clip that fits nowhere is refused with the numbers.
//
// It must not know files, ONNX Runtime or the machine it runs on.
package plan

import (
	"fmt"
	"slices"
)

// Network is one of the four networks.
type Network string

// The networks, in the order in which a clip needs them first.
const (
	Text  Network = "text encoder"
	Audio Network = "audio encoder"
	VAE   Network = "VAE"
	DiT   Network = "transformer"
)

// Networks are all of them.
var Networks = []Network{Text, Audio, VAE, DiT}

// Model is the size of a variant's networks. Bytes are those on the device, so at the dtype in which it computes: float32
// for the VAE and the audio encoder everywhere.
type Model struct {
	Variant string
	Bytes   map[Network]int64

	Width, FFN  int64 // of the transformer
	Blocks      int64
	BlockBytes  int64 // of one of its blocks
	VAEChannels int64 // at the full size: 96
	TextWidth   int64
	TextFFN     int64
	AudioWidth  int64
	Conditioned bool // 17B: a mid-grey clip is encoded unless a published file serves
}

// Job is the size of a clip.
type Job struct {
	Width, Height, Frames int
	References            int // reference pictures; 0 counts as the empty one

	// Copies are bytes of the transformer's weights that lie in memory beside their mapped files while it runs, as where its
	// layers are in 8 bits. On devices that are not Mapped all weights are copies anyway.
	Copies int64
}

// Device is where the networks run.
type Device struct {
	Free    int64 // bytes that may be used
	Compute int64 // bytes of a number that the transformer computes with: 4 for F32, 2 for F16 and BF16
	Text    int64 // the same of the text encoder; 0: it runs elsewhere and takes nothing of this device
	Base    int64 // what is used whatever runs: the library's context and workspaces

	// Mapped: weights are pages of their files, which the system may drop and read again. They take no part of Free, nothing
	// is loaded or dropped, and memories cannot be moved elsewhere. That is the CPU.
	Mapped bool
}

// Memories says where the VAE keeps what its temporal convolutions remember.
type Memories string

// The places.
const (
	OnDevice Memories = "device" // all of them
	OnHost   Memories = "host"   // those of the running stage are on the device; costs 4 to 9 s a clip at 480x832x97
)

// Stage is a part of the work and what it holds.
type Stage struct {
	Name        string    `json:"name"`
	Load        []Network `json:"load,omitempty"` // before it
	Drop        []Network `json:"drop,omitempty"` // after it
	Weights     int64     `json:"weights"`        // bytes, of residents too
	Activations int64     `json:"activations"`    // bytes
	Peak        int64     `json:"peak"`           // bytes, with the device's base
}

// The names of the stages, in their order.
const (
	StageText   = "text"
	StageAudio  = "audio"
	StageImage  = "image"
	StageDiT    = "denoise"
	StageDecode = "decode"
)

// Plan is how a clip is made on a device.
type Plan struct {
	Resident []Network `json:"resident"` // stay from clip to clip
	Groups   int64     `json:"groups"`   // of the transformer's blocks; 1: all at once, else one runs while the next is copied
	Memories Memories  `json:"vae_memories"`
	Stages   []Stage   `json:"stages"`
	Peak     int64     `json:"peak"` // bytes of the largest stage
	Rank     int       `json:"-"`    // 0 is the best way; plans of one model compare by it
}

// way is one way to use a device.
type way struct {
	resident []Network
	groups   int64
	memories Memories
}

// ways lists all ways, from the one that makes a clip fastest to the one that needs least. A dropped text encoder costs
// its load, 2 to 10 s a clip; memories on the host cost about as much, without touching the disk; a dropped transformer
// costs up to 34 GB a clip, a streamed one as much in every pass. So that is their order.
func ways(m Model, d Device) []way {
	all := []Network{Text, Audio, VAE, DiT}
	if d.Mapped {
		return []way{{all, 1, OnDevice}}
	}
	list := []way{{all, 1, OnDevice}, {all[1:], 1, OnDevice}, {all[2:], 1, OnDevice}, {all[2:], 1, OnHost},
		{all[2:3], 1, OnDevice}, {nil, 1, OnDevice}, {nil, 1, OnHost}}
	for groups := int64(2); ; groups *= 2 {
		groups = min(groups, m.Blocks)
		list = append(list, way{all[2:3], groups, OnDevice}, way{nil, groups, OnDevice}, way{nil, groups, OnHost})
		if groups == m.Blocks {
			return list
		}
	}
}

// Make returns the best way that fits, or a fault "does_not_fit" that says what is short where.
func Make(m Model, j Job, d Device) (*Plan, error) {
	var least *Plan
	for rank, w := range ways(m, d) {
		p := lay(m, j, d, w)
		p.Rank = rank
		if p.Peak <= d.Free {
			return p, nil
		}
		if least == nil || p.Peak < least.Peak {
			least = p
		}
	}
	return nil, refuse(m, j, d, least)
}

// lay counts what a way takes.
func lay(m Model, j Job, d Device, w way) *Plan {
	p := &Plan{Resident: w.resident, Groups: w.groups, Memories: w.memories}
	for _, s := range []struct {
		name        string
		needs       Network
		activations int64
	}{
		{StageText, Text, m.text(d)},
		{StageAudio, Audio, m.audio()},
		{StageImage, VAE, m.encode(j, d, w.memories)},
		{StageDiT, DiT, m.denoise(j, d)},
		{StageDecode, VAE, m.decode(j, d, w.memories)},
	} {
		stage := Stage{Name: s.name, Activations: s.activations}
		if !slices.Contains(w.resident, s.needs) {
			stage.Load, stage.Drop = []Network{s.needs}, []Network{s.needs}
			stage.Weights += m.held(d, s.needs, w.groups)
		}
		for _, n := range w.resident {
			stage.Weights += m.held(d, n, w.groups)
		}
		if s.needs == DiT && d.Mapped {
			stage.Weights += j.Copies
		}
		stage.Peak = d.Base + stage.Weights + stage.Activations
		p.Peak = max(p.Peak, stage.Peak)
		p.Stages = append(p.Stages, stage)
	}
	return p
}

// held is what a network's weights take of the device's memory while it runs.
func (m Model) held(d Device, n Network, groups int64) int64 {
	if d.Mapped || n == Text && d.Text == 0 {
		return 0
	}
	if n != DiT || groups == 1 {
		return m.Bytes[n]
	}
	const buffers = 2 // one group runs, the next is copied
	group := (m.Blocks + groups - 1) / groups
	once := 4 * m.Width * m.Width * d.Compute // block 0's self-attention is run once a step, not once a pass, and stays
	return m.Bytes[DiT] - m.Blocks*m.BlockBytes + once + min(buffers*group, m.Blocks)*m.BlockBytes
}

// Worst is the stage that needs most.
func (p *Plan) Worst() Stage {
	return slices.MaxFunc(p.Stages, func(a, b Stage) int { return int(min(max(a.Peak-b.Peak, -1), 1)) })
}

// String says it in a line.
func (p *Plan) String() string {
	stays := "nothing stays loaded"
	if len(p.Resident) == 4 {
		stays = "everything stays loaded"
	} else if len(p.Resident) > 0 {
		stays = fmt.Sprintf("of the networks %v stay loaded", p.Resident)
	}
	if p.Groups > 1 {
		stays += fmt.Sprintf(", the transformer streams its blocks in %d groups", p.Groups)
	}
	if p.Memories == OnHost {
		stays += ", the VAE's memories lie on the host"
	}
	return fmt.Sprintf("%s; at most %.1f GB, in stage %s", stays, gb(p.Peak), p.Worst().Name)
}

func gb(bytes int64) float64 { return float64(bytes) / 1e9 }
