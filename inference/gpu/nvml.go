package gpu

/*
#cgo linux LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>

// The part of NVML's interface (nvml.h, stable since version 2 of these functions) that is asked here. Its functions are
// looked up in the library when it is opened: a program that named them itself would not start where there is no driver and
// the system's linker binds all names at once.
typedef struct { unsigned long long total, free, used; } nvml_memory;

typedef struct {
	void *library;
	int (*init)(void);
	int (*shutdown)(void);
	int (*version)(char *, unsigned);
	int (*count)(unsigned *);
	int (*by_index)(unsigned, void **);
	int (*by_uuid)(const char *, void **);
	int (*name)(void *, char *, unsigned);
	int (*uuid)(void *, char *, unsigned);
	int (*memory)(void *, nvml_memory *);
	int (*capability)(void *, int *, int *);
	const char *(*explain)(int);
} nvml;

// nvml_load returns what is missing: the library's error, or the name of a function; NULL if it is all there.
static const char *nvml_load(nvml *n, const char *path) {
	n->library = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
	if (!n->library) return dlerror();
	struct { void **to; const char *name; } wanted[] = {
		{(void **)&n->init, "nvmlInit_v2"}, {(void **)&n->shutdown, "nvmlShutdown"},
		{(void **)&n->version, "nvmlSystemGetDriverVersion"}, {(void **)&n->count, "nvmlDeviceGetCount_v2"},
		{(void **)&n->by_index, "nvmlDeviceGetHandleByIndex_v2"}, {(void **)&n->by_uuid, "nvmlDeviceGetHandleByUUID"},
		{(void **)&n->name, "nvmlDeviceGetName"}, {(void **)&n->uuid, "nvmlDeviceGetUUID"},
		{(void **)&n->memory, "nvmlDeviceGetMemoryInfo"}, {(void **)&n->capability, "nvmlDeviceGetCudaComputeCapability"},
		{(void **)&n->explain, "nvmlErrorString"},
	};
	for (unsigned i = 0; i < sizeof wanted / sizeof *wanted; i++) {
		*wanted[i].to = dlsym(n->library, wanted[i].name);
		if (!*wanted[i].to) return wanted[i].name;
	}
	return NULL;
}

static int nvml_init(nvml *n) { return n->init(); }
static void nvml_close(nvml *n) { n->shutdown(); }
static void nvml_unload(nvml *n) { if (n->library) dlclose(n->library); }
static int nvml_version(nvml *n, char *text, unsigned size) { return n->version(text, size); }
static int nvml_count(nvml *n, unsigned *count) { return n->count(count); }
static int nvml_by_index(nvml *n, unsigned i, void **device) { return n->by_index(i, device); }
static int nvml_by_uuid(nvml *n, const char *uuid, void **device) { return n->by_uuid(uuid, device); }
static int nvml_name(nvml *n, void *device, char *text, unsigned size) { return n->name(device, text, size); }
static int nvml_uuid(nvml *n, void *device, char *text, unsigned size) { return n->uuid(device, text, size); }
static int nvml_memory_info(nvml *n, void *device, nvml_memory *m) { return n->memory(device, m); }
static int nvml_capability(nvml *n, void *device, int *major, int *minor) { return n->capability(device, major, minor); }
static const char *nvml_explain(nvml *n, int code) { return n->explain(code); }
*/
import "C"

import (
	"errors"
	"unsafe"
)

// driver is what an NVIDIA driver tells about its cards.
type driver interface {
	version() (string, error)
	count() (int, error)
	device(i int) (device, error) // in the order of the bus
	named(uuid string) (device, error)
	close()
}

// device is a card of a driver.
type device interface {
	name() (string, error)
	uuid() (string, error)
	memory() (total, free int64, err error)
	capability() (major, minor int, err error)
}

// library is the file of NVML, which comes with the driver.
const library = "libnvidia-ml.so.1"

// nvml is the driver by its management library.
type nvml struct{ c *C.nvml }

// openNVML loads the library and starts it.
func openNVML(path string) (driver, error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	n := &nvml{(*C.nvml)(C.calloc(1, C.sizeof_nvml))}
	if missing := C.nvml_load(n.c, name); missing != nil {
		err := errors.New(C.GoString(missing))
		n.unload()
		return nil, err
	}
	if err := n.check(C.nvml_init(n.c)); err != nil {
		n.unload()
		return nil, err
	}
	return n, nil
}

func (n *nvml) close() {
	C.nvml_close(n.c)
	n.unload()
}

func (n *nvml) unload() {
	C.nvml_unload(n.c)
	C.free(unsafe.Pointer(n.c))
}

// check explains a code that is not 0, success.
func (n *nvml) check(code C.int) error {
	if code == 0 {
		return nil
	}
	return errors.New(C.GoString(C.nvml_explain(n.c, code)))
}

// text asks for a text, which NVML bounds to 96 bytes.
func (n *nvml) text(ask func(buffer *C.char, size C.uint) C.int) (string, error) {
	var buffer [128]C.char
	err := n.check(ask(&buffer[0], C.uint(len(buffer))))
	return C.GoString(&buffer[0]), err
}

func (n *nvml) version() (string, error) {
	return n.text(func(b *C.char, size C.uint) C.int { return C.nvml_version(n.c, b, size) })
}

func (n *nvml) count() (int, error) {
	var count C.uint
	err := n.check(C.nvml_count(n.c, &count))
	return int(count), err
}

func (n *nvml) device(i int) (device, error) {
	var handle unsafe.Pointer
	err := n.check(C.nvml_by_index(n.c, C.uint(i), &handle))
	return nvmlDevice{n, handle}, err
}

func (n *nvml) named(uuid string) (device, error) {
	text := C.CString(uuid)
	defer C.free(unsafe.Pointer(text))
	var handle unsafe.Pointer
	err := n.check(C.nvml_by_uuid(n.c, text, &handle))
	return nvmlDevice{n, handle}, err
}

type nvmlDevice struct {
	n      *nvml
	handle unsafe.Pointer
}

func (d nvmlDevice) name() (string, error) {
	return d.n.text(func(b *C.char, size C.uint) C.int { return C.nvml_name(d.n.c, d.handle, b, size) })
}

func (d nvmlDevice) uuid() (string, error) {
	return d.n.text(func(b *C.char, size C.uint) C.int { return C.nvml_uuid(d.n.c, d.handle, b, size) })
}

func (d nvmlDevice) memory() (total, free int64, err error) {
	var m C.nvml_memory
	err = d.n.check(C.nvml_memory_info(d.n.c, d.handle, &m))
	return int64(m.total), int64(m.free), err
}

func (d nvmlDevice) capability() (major, minor int, err error) {
	var a, b C.int
	err = d.n.check(C.nvml_capability(d.n.c, d.handle, &a, &b))
	return int(a), int(b), err
}
