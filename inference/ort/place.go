package ort

import (
	"fmt"
	"strconv"
	"sync/atomic"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
)

// Kind is the sort of processor that a Place is.
type Kind uint8

const (
	// CPU is the host: its tensors are ordinary memory.
	CPU Kind = iota
	// CUDA is an NVIDIA card.
	CUDA

	// Arena serves tests: the processor, with tensors as on a card, in memory that the library gives out and that is
	// reached only by copying. Whatever runs on it runs the way it does on a card; Device tells several apart.
	Arena
)

// Place is where a session runs and its tensors live. It is comparable; the zero value is the host.
type Place struct {
	Kind   Kind
	Device int // CUDA's number of the card
}

func (p Place) String() string {
	switch p.Kind {
	case CPU:
		return "cpu"
	case CUDA:
		return "cuda:" + strconv.Itoa(p.Device)
	}
	return "arena:" + strconv.Itoa(p.Device)
}

// device is a Place that a Runtime has opened. All its methods may be called from several goroutines.
type device struct {
	rt     *Runtime
	place  Place
	held   atomic.Int64 // bytes of the blocks that are not freed
	peak   atomic.Int64 // the most that held has been
	blocks atomic.Int64 // their number

	// The rest is there for places other than the host.
	info    nativeInfo
	shared  bool            // an arena for the activations of all sessions is registered
	copier  nativeSession   // copies bytes between the host and the device, and owns the memory of tensors
	memory  nativeAllocator // of the device
	pinned  nativeInfo      // of host memory that the device reads fast; nil if there is none
	staging nativeAllocator // of that memory
	names   []nativeName
}

// device opens p, or returns it if it is open; it stays so until the Runtime is closed. Where the library has no provider
// for p, the fault's code is "cuda_missing".
func (rt *Runtime) device(p Place) (*device, error) {
	rt.devicesMu.Lock()
	defer rt.devicesMu.Unlock()
	if d := rt.devices[p]; d != nil {
		return d, nil
	}
	if rt.devicesClosed {
		return nil, fault.New("onnxruntime_session", "", "the Runtime is closed; open another")
	}
	if p.Device < 0 || p.Kind > Arena {
		return nil, fault.New("cuda_missing", "", "%s is no place; cards count from 0", p)
	}
	d := &device{rt: rt, place: p}
	if p.Kind != CPU {
		if err := d.open(); err != nil {
			d.close()
			return nil, err
		}
	}
	rt.devices[p] = d
	return d, nil
}

// open makes the shared arena and the copier. The copier's own arena holds every tensor of the place: apart from the
// activations, whose chunks would otherwise lie between the groups of weights that come and go.
func (d *device) open() error {
	n, name, card := d.rt.native, "Cpu", 0
	if d.place.Kind == CUDA {
		name, card = "Cuda", d.place.Device
	}
	var err error
	if d.info, err = n.memoryInfo(name, card, memoryDefault); err != nil {
		return err
	}
	o := sessionSettings{threads: 1, arena: true, level: OptimizeOff, entries: map[string]string{"session.use_env_allocators": "0"}}
	if d.place.Kind == CUDA {
		o.cuda = d.rt.cfg.CUDA.options(d.place.Device)
		delete(o.cuda, "gpu_mem_limit") // bounds activations; weights have the residency planner
		o.cuda["arena_extend_strategy"] = cudaArenas["exact"]
	}
	if d.copier, err = n.createSession(copyModel(), o); err != nil {
		return noCUDA(d.place, err)
	}
	if d.memory, err = n.allocator(d.copier, d.info); err != nil {
		return noCUDA(d.place, err)
	}
	d.names = cNames([]string{"x", "y"})
	if d.place.Kind != CUDA {
		return nil
	}
	if d.pinned, err = n.memoryInfo("CudaPinned", d.place.Device, memoryPinned); err == nil {
		d.staging, err = n.allocator(d.copier, d.pinned)
	}
	if err != nil {
		return noCUDA(d.place, err)
	}
	return d.shareArena()
}

// shareArena registers the arena for the activations of all sessions of a card: they take turns, and each by itself would
// keep what it once needed.
func (d *device) shareArena() error {
	options := d.rt.cfg.CUDA.options(d.place.Device)
	limit := d.rt.cfg.CUDA.MemoryMiB << 20
	const doubling, sameAsRequested = 0, 1
	strategy := sameAsRequested
	if d.rt.cfg.CUDA.Arena == "doubling" {
		strategy = doubling
	}
	if err := d.rt.native.registerArena("CUDAExecutionProvider", d.info, limit, strategy, options); err != nil {
		return noCUDA(d.place, err)
	}
	d.shared = true
	return nil
}

// freshArena gives the sessions made from now on a new arena, as Runtime.FreshArena says, and returns to the device what
// no tensor uses.
func (d *device) freshArena() error {
	if d.place.Kind == CPU {
		return nil
	}
	if err := d.shrink(); err != nil || !d.shared {
		return err
	}
	d.shared = false
	if err := d.rt.native.unregisterArena(d.info); err != nil {
		return err
	}
	return d.shareArena()
}

func (d *device) close() {
	n := d.rt.native
	if d.shared {
		_ = n.unregisterArena(d.info) // the environment goes next
	}
	for _, a := range []nativeAllocator{d.memory, d.staging} {
		if a != nil {
			n.releaseAllocator(a)
		}
	}
	if d.copier != nil {
		n.releaseSession(d.copier)
	}
	for _, info := range []nativeInfo{d.info, d.pinned} {
		if info != nil {
			n.releaseInfo(info)
		}
	}
	freeNames(d.names)
}

// copyModel is y = x for bytes of any number: what carries memory from one device to another is the binding of x or y. In
// opset 13 because later versions of Identity have no kernel on CUDA in every release.
func copyModel() []byte {
	field := func(message []byte, number protowire.Number, value []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(message, number, protowire.BytesType), value)
	}
	number := func(message []byte, field protowire.Number, value uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(message, field, protowire.VarintType), value)
	}
	port := func(name string) []byte {
		shape := field(nil, shapeDim, field(nil, 2, []byte("n")))
		tensor := field(number(nil, typeElement, uint64(elementTypes[checkpoint.U8])), typeShape, shape)
		return field(field(nil, valueName, []byte(name)), valueType, field(nil, typeTensor, tensor))
	}
	node := field(field(field(nil, 1, []byte("x")), 2, []byte("y")), 4, []byte("Identity"))
	g := field(field(field(field(nil, 1, node), 2, []byte("copy")), graphInput, port("x")), graphOutput, port("y"))
	return field(field(number(nil, 1, 7), modelGraph, g), 8, number(nil, 2, 13))
}

// write copies size bytes of host memory, pinned by the caller, to the device, or read back from it, and waits for them.
func (d *device) write(to, from uintptr, size int64, pinned bool) error {
	info := d.rt.native.host
	if pinned && d.pinned != nil {
		info = d.pinned
	}
	return d.copy(d.info, to, info, from, size, nil)
}

func (d *device) read(to, from uintptr, size int64) error {
	return d.copy(d.rt.native.host, to, d.info, from, size, nil)
}

// pinnedBuffer is host memory that the device reads fast.
func (d *device) pinnedBuffer(size int64) ([]byte, func() error, error) {
	v, at, err := d.rt.native.allocate(d.staging, size)
	if err != nil {
		return nil, nil, err
	}
	return d.rt.native.bytes(at, size), func() error { d.rt.native.releaseValue(v); return nil }, nil
}

// shrink gives memory that no tensor uses back to the system or the card.
func (d *device) shrink() error {
	name := "cpu:0"
	if d.place.Kind == CUDA {
		name = "gpu:" + strconv.Itoa(d.place.Device)
	}
	return d.copy(d.info, 0, d.info, 0, 0, map[string]string{"memory.enable_memory_arena_shrinkage": name})
}

func (d *device) copy(toInfo nativeInfo, to uintptr, fromInfo nativeInfo, from uintptr, size int64, entries map[string]string) error {
	n := d.rt.native
	x, err := n.view(fromInfo, from, size, checkpoint.U8, []int64{size})
	if err != nil {
		return err
	}
	defer n.releaseValue(x)
	y, err := n.view(toInfo, to, size, checkpoint.U8, []int64{size})
	if err != nil {
		return err
	}
	defer n.releaseValue(y)
	r, err := n.newRun(entries)
	if err != nil {
		return err
	}
	defer n.releaseRun(r)
	if err := n.run(d.copier, r, d.names, []nativeValue{x, y}, 1); err != nil {
		return fmt.Errorf("%d bytes between the host and %s: %w", size, d.place, err)
	}
	return nil
}
