package ort

/*
#cgo linux LDFLAGS: -ldl
#include <dlfcn.h>
#include "include/onnxruntime_c_api.h"

// Go cannot call function pointers: each call that is needed has its line here. Every one but the releases returns NULL
// or a status with a message; C++ exceptions (an allocation that fails) arrive as such statuses too.

static const OrtApi *api_of(void *get_base) {
	return ((const OrtApiBase *(*)(void))get_base)()->GetApi(ORT_API_VERSION);
}
static const char *message(const OrtApi *a, OrtStatus *s) { return a->GetErrorMessage(s); }
static void release_status(const OrtApi *a, OrtStatus *s) { a->ReleaseStatus(s); }

static OrtStatus *create_env(const OrtApi *a, OrtEnv **env) { return a->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "humo-worker", env); }
static void release_env(const OrtApi *a, OrtEnv *env) { a->ReleaseEnv(env); }

static OrtStatus *create_options(const OrtApi *a, OrtSessionOptions **o) { return a->CreateSessionOptions(o); }
static void release_options(const OrtApi *a, OrtSessionOptions *o) { a->ReleaseSessionOptions(o); }
static OrtStatus *add_entry(const OrtApi *a, OrtSessionOptions *o, const char *key, const char *value) {
	return a->AddSessionConfigEntry(o, key, value);
}
static OrtStatus *set_numbers(const OrtApi *a, OrtSessionOptions *o, int threads, int arena, int level) {
	OrtStatus *s = a->SetIntraOpNumThreads(o, threads);
	if (!s) s = a->SetInterOpNumThreads(o, 1); // nodes run in order; each uses all threads
	if (!s) s = a->SetSessionExecutionMode(o, ORT_SEQUENTIAL);
	if (!s) s = arena ? a->EnableCpuMemArena(o) : a->DisableCpuMemArena(o);
	if (!s) s = a->DisableMemPattern(o); // would reserve a second block of activations
	if (!s) s = a->SetSessionGraphOptimizationLevel(o, (GraphOptimizationLevel)level);
	return s;
}
static OrtStatus *append_cuda(const OrtApi *a, OrtSessionOptions *o, const char *const *keys, const char *const *values, size_t n) {
	OrtCUDAProviderOptionsV2 *cuda = NULL;
	OrtStatus *s = a->CreateCUDAProviderOptions(&cuda);
	if (!s) s = a->UpdateCUDAProviderOptions(cuda, keys, values, n);
	if (!s && o) s = a->SessionOptionsAppendExecutionProvider_CUDA_V2(o, cuda);
	if (cuda) a->ReleaseCUDAProviderOptions(cuda);
	return s;
}
static OrtStatus *create_session(const OrtApi *a, OrtEnv *env, const void *model, size_t n, OrtSessionOptions *o, OrtSession **s) {
	return a->CreateSessionFromArray(env, model, n, o, s);
}
static void release_session(const OrtApi *a, OrtSession *s) { a->ReleaseSession(s); }

static OrtStatus *create_info(const OrtApi *a, const char *name, int device, int mem, OrtMemoryInfo **info) {
	return a->CreateMemoryInfo(name, OrtDeviceAllocator, device, (enum OrtMemType)mem, info);
}
static void release_info(const OrtApi *a, OrtMemoryInfo *info) { a->ReleaseMemoryInfo(info); }
static OrtStatus *create_allocator(const OrtApi *a, OrtSession *s, OrtMemoryInfo *info, OrtAllocator **out) {
	return a->CreateAllocator(s, info, out);
}
static void release_allocator(const OrtApi *a, OrtAllocator *x) { a->ReleaseAllocator(x); }
static OrtStatus *register_arena(const OrtApi *a, OrtEnv *env, const char *provider, OrtMemoryInfo *info, size_t most, int strategy,
		const char *const *keys, const char *const *values, size_t n) {
	OrtArenaCfg *arena = NULL;
	OrtStatus *s = a->CreateArenaCfg(most, strategy, -1, -1, &arena);
	if (!s) s = a->CreateAndRegisterAllocatorV2(env, provider, info, arena, keys, values, n);
	if (arena) a->ReleaseArenaCfg(arena);
	return s;
}
static OrtStatus *unregister_arena(const OrtApi *a, OrtEnv *env, OrtMemoryInfo *info) { return a->UnregisterAllocator(env, info); }

static OrtStatus *allocate_bytes(const OrtApi *a, OrtAllocator *x, int64_t n, OrtValue **value, uintptr_t *address) {
	void *data = NULL;
	OrtStatus *s = a->CreateTensorAsOrtValue(x, &n, 1, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, value);
	if (!s) s = a->GetTensorMutableData(*value, &data);
	*address = (uintptr_t)data;
	return s;
}
static void *pointer(uintptr_t address) { return (void *)address; }
static char nothing; // what tensors without elements point to
static OrtStatus *view(const OrtApi *a, OrtMemoryInfo *info, uintptr_t data, size_t size, const int64_t *shape, size_t rank, int type, OrtValue **value) {
	return a->CreateTensorWithDataAsOrtValue(info, data ? (void *)data : &nothing, size, shape, rank, (ONNXTensorElementDataType)type, value);
}
static void release_value(const OrtApi *a, OrtValue *v) { a->ReleaseValue(v); }

static OrtStatus *create_run(const OrtApi *a, OrtRunOptions **r) { return a->CreateRunOptions(r); }
static OrtStatus *run_entry(const OrtApi *a, OrtRunOptions *r, const char *key, const char *value) { return a->AddRunConfigEntry(r, key, value); }
static OrtStatus *terminate(const OrtApi *a, OrtRunOptions *r) { return a->RunOptionsSetTerminate(r); }
static void release_run(const OrtApi *a, OrtRunOptions *r) { a->ReleaseRunOptions(r); }

// run_bound runs a session once with a binding of its own: the first n_in names are inputs, the other n_out outputs.
static OrtStatus *run_bound(const OrtApi *a, OrtSession *session, OrtRunOptions *r, char **names, OrtValue **values, size_t n_in, size_t n_out) {
	OrtIoBinding *b = NULL;
	OrtStatus *s = a->CreateIoBinding(session, &b);
	for (size_t i = 0; !s && i < n_in; i++) s = a->BindInput(b, names[i], values[i]);
	for (size_t i = n_in; !s && i < n_in + n_out; i++) s = a->BindOutput(b, names[i], values[i]);
	if (!s) s = a->SynchronizeBoundInputs(b);
	if (!s) s = a->RunWithBinding(session, r, b);
	if (!s) s = a->SynchronizeBoundOutputs(b);
	if (b) a->ReleaseIoBinding(b);
	return s;
}
*/
import "C"

import (
	"errors"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
)

// The handles that other files pass around; only this file looks into C.
type (
	nativeSession   = *C.OrtSession
	nativeValue     = *C.OrtValue
	nativeInfo      = *C.OrtMemoryInfo
	nativeAllocator = *C.OrtAllocator
	nativeRun       = *C.OrtRunOptions
	nativeName      = *C.char
)

// native is the C API of the library that the binding has loaded, and the environment that it has created.
type native struct {
	api    *C.OrtApi
	handle unsafe.Pointer
	env    *C.OrtEnv
	host   nativeInfo // ordinary memory

	live atomic.Int64 // values and options of runs that are not released; for tests
}

// openNative finds the loaded library under the name it was loaded by. CreateEnv returns the one environment of the
// process, counted, as its documentation promises; so nothing private of the binding is looked at.
func openNative(library string) (*native, error) {
	name := C.CString(library)
	defer C.free(unsafe.Pointer(name))
	handle := C.dlopen(name, C.RTLD_LAZY|C.RTLD_NOLOAD)
	if handle == nil {
		return nil, errors.New("the loaded library is not found again: " + C.GoString(C.dlerror()))
	}
	symbol := C.CString("OrtGetApiBase")
	defer C.free(unsafe.Pointer(symbol))
	n := &native{handle: handle}
	if base := C.dlsym(handle, symbol); base != nil {
		n.api = C.api_of(base)
	}
	if n.api == nil {
		n.close()
		return nil, errors.New("its C API is older than version 24")
	}
	err := n.check(C.create_env(n.api, &n.env))
	if err == nil {
		n.host, err = n.memoryInfo("Cpu", 0, C.OrtMemTypeDefault)
	}
	if err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

func (n *native) close() {
	if n.host != nil {
		C.release_info(n.api, n.host)
	}
	if n.env != nil {
		C.release_env(n.api, n.env)
	}
	C.dlclose(n.handle)
}

// check turns a status into an error and frees it.
func (n *native) check(s *C.OrtStatus) error {
	if s == nil {
		return nil
	}
	defer C.release_status(n.api, s)
	return errors.New(strings.TrimSpace(C.GoString(C.message(n.api, s))))
}

// sessionSettings are the options of a session in the library's words.
type sessionSettings struct {
	threads int
	arena   bool
	level   Optimization
	entries map[string]string
	cuda    map[string]string // the CUDA provider's options; nil for the CPU
}

var levels = map[Optimization]C.int{
	OptimizeAll: C.ORT_ENABLE_ALL, OptimizeMost: C.ORT_ENABLE_EXTENDED, OptimizeBasic: C.ORT_ENABLE_BASIC, OptimizeOff: C.ORT_DISABLE_ALL,
}

func (n *native) createSession(model []byte, o sessionSettings) (nativeSession, error) {
	var options *C.OrtSessionOptions
	if err := n.check(C.create_options(n.api, &options)); err != nil {
		return nil, err
	}
	defer C.release_options(n.api, options)
	arena := C.int(0)
	if o.arena {
		arena = 1
	}
	if err := n.check(C.set_numbers(n.api, options, C.int(o.threads), arena, levels[o.level])); err != nil {
		return nil, err
	}
	keys, values := pairs(o.entries)
	defer freeNames(keys, values)
	for i := range keys {
		if err := n.check(C.add_entry(n.api, options, keys[i], values[i])); err != nil {
			return nil, err
		}
	}
	if o.cuda != nil {
		if err := n.appendCUDA(options, o.cuda); err != nil {
			return nil, &noCUDAError{err}
		}
	}
	if len(model) == 0 {
		return nil, errors.New("the model is empty")
	}
	var session nativeSession
	err := n.check(C.create_session(n.api, n.env, unsafe.Pointer(&model[0]), C.size_t(len(model)), options, &session))
	return session, err
}

// noCUDAError says that it was the provider, not the model, that failed.
type noCUDAError struct{ error }

func (e *noCUDAError) Unwrap() error { return e.error }

// appendCUDA adds the CUDA provider to options, or only checks the provider's options if there are none.
func (n *native) appendCUDA(options *C.OrtSessionOptions, entries map[string]string) error {
	keys, values := pairs(entries)
	defer freeNames(keys, values)
	return n.check(C.append_cuda(n.api, options, unsafe.SliceData(keys), unsafe.SliceData(values), C.size_t(len(keys))))
}

func (n *native) releaseSession(s nativeSession) { C.release_session(n.api, s) }

// The memory types of memoryInfo.
const (
	memoryDefault = int(C.OrtMemTypeDefault)
	memoryPinned  = int(C.OrtMemTypeCPUOutput) // host memory that the device reaches
)

func (n *native) memoryInfo(name string, device, kind int) (info nativeInfo, err error) {
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	return info, n.check(C.create_info(n.api, c, C.int(device), C.int(kind), &info))
}

func (n *native) releaseInfo(info nativeInfo) { C.release_info(n.api, info) }

// allocator is the one with which s allocates memory of that kind; it is valid while s is.
func (n *native) allocator(s nativeSession, info nativeInfo) (a nativeAllocator, err error) {
	return a, n.check(C.create_allocator(n.api, s, info, &a))
}

func (n *native) releaseAllocator(a nativeAllocator) { C.release_allocator(n.api, a) }

// registerArena makes the arena that sessions with session.use_env_allocators share on a device.
func (n *native) registerArena(provider string, info nativeInfo, most int64, strategy int, options map[string]string) error {
	c := C.CString(provider)
	defer C.free(unsafe.Pointer(c))
	keys, values := pairs(options)
	defer freeNames(keys, values)
	return n.check(C.register_arena(n.api, n.env, c, info, C.size_t(most), C.int(strategy), unsafe.SliceData(keys), unsafe.SliceData(values), C.size_t(len(keys))))
}

func (n *native) unregisterArena(info nativeInfo) error {
	return n.check(C.unregister_arena(n.api, n.env, info))
}

// allocate takes size bytes from an allocator; releaseValue gives them back.
func (n *native) allocate(a nativeAllocator, size int64) (v nativeValue, address uintptr, err error) {
	var at C.uintptr_t
	err = n.check(C.allocate_bytes(n.api, a, C.int64_t(size), &v, &at))
	if v != nil {
		n.live.Add(1)
	}
	if err != nil && v != nil {
		n.releaseValue(v)
		v = nil
	}
	return v, uintptr(at), err
}

// bytes views host memory that the library has allocated.
func (n *native) bytes(address uintptr, size int64) []byte {
	return unsafe.Slice((*byte)(C.pointer(C.uintptr_t(address))), size)
}

// view is a value over memory that somebody else owns: of any type and rank, at any alignment. Go memory must stay pinned
// while the value lives.
func (n *native) view(info nativeInfo, address uintptr, size int64, dtype checkpoint.DType, shape []int64) (v nativeValue, err error) {
	err = n.check(C.view(n.api, info, C.uintptr_t(address), C.size_t(size), (*C.int64_t)(unsafe.SliceData(shape)), C.size_t(len(shape)),
		C.int(elementTypes[dtype]), &v))
	if err == nil {
		n.live.Add(1)
	}
	return v, err
}

func (n *native) releaseValue(v nativeValue) {
	n.live.Add(-1)
	C.release_value(n.api, v)
}

// newRun makes the options of one run. A late terminate cannot reach another.
func (n *native) newRun(entries map[string]string) (nativeRun, error) {
	var r nativeRun
	if err := n.check(C.create_run(n.api, &r)); err != nil {
		return nil, err
	}
	n.live.Add(1)
	keys, values := pairs(entries)
	defer freeNames(keys, values)
	for i := range keys {
		if err := n.check(C.run_entry(n.api, r, keys[i], values[i])); err != nil {
			n.releaseRun(r)
			return nil, err
		}
	}
	return r, nil
}

// terminate makes a run stop before its next node; it sets a flag and has no way to fail.
func (n *native) terminate(r nativeRun) { _ = n.check(C.terminate(n.api, r)) }

func (n *native) releaseRun(r nativeRun) {
	n.live.Add(-1)
	C.release_run(n.api, r)
}

// run binds values to names, inputs first, and runs s. What lies on another device than the model wants it is copied by
// the library, inputs before and outputs after; when run returns, every output is complete.
func (n *native) run(s nativeSession, r nativeRun, names []nativeName, values []nativeValue, inputs int) error {
	return n.check(C.run_bound(n.api, s, r, unsafe.SliceData(names), unsafe.SliceData(values), C.size_t(inputs), C.size_t(len(values)-inputs)))
}

// cNames copies names for the library; freeNames frees them.
func cNames(names []string) []nativeName {
	list := make([]nativeName, len(names))
	for i, name := range names {
		list[i] = C.CString(name)
	}
	return list
}

func freeNames(lists ...[]nativeName) {
	for _, names := range lists {
		for _, name := range names {
			C.free(unsafe.Pointer(name))
		}
	}
}

func pairs(m map[string]string) (keys, values []nativeName) {
	for key, value := range m {
		keys, values = append(keys, C.CString(key)), append(values, C.CString(value))
	}
	return keys, values
}
