package sandbox

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// refusedCalls are the system calls that fail with EPERM: sockets of every kind, and io_uring, which can make some; what
// reaches into other processes, or signals them; what leaves the process group, by which leftovers are killed; memory that
// no limit counts; and parts of the kernel that have no use here and a history of holes.
var refusedCalls = append([]uint32{
	unix.SYS_SOCKET, unix.SYS_SOCKETPAIR, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PROCESS_MADVISE, unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_GETFD,
	unix.SYS_PIDFD_SEND_SIGNAL, unix.SYS_KILL, unix.SYS_TKILL, unix.SYS_RT_SIGQUEUEINFO, unix.SYS_RT_TGSIGQUEUEINFO, unix.SYS_KCMP,
	unix.SYS_SETSID, unix.SYS_SETPGID,
	unix.SYS_MEMFD_CREATE, unix.SYS_MEMFD_SECRET, unix.SYS_SHMGET, unix.SYS_SHMAT, unix.SYS_MSGGET, unix.SYS_SEMGET, unix.SYS_MQ_OPEN,
	unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_FSOPEN, unix.SYS_OPEN_TREE,
	unix.SYS_MOVE_MOUNT, unix.SYS_MOUNT_SETATTR, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_KEYCTL, unix.SYS_ADD_KEY,
	unix.SYS_REQUEST_KEY, unix.SYS_FANOTIFY_INIT, unix.SYS_PERSONALITY,
}, refusedCallsHere...)

// Offsets in struct seccomp_data; of an argument the lower half, both machines being little-endian.
const (
	callNumber, callMachine = 0, 4
	firstArgument           = 16
)

func argument(n uint32) uint32 { return firstArgument + 8*n }

// filter is a program of the kernel's packet filter. Each rule ends in an answer or falls through to the next.
type filter []unix.SockFilter

func (f *filter) load(offset uint32) {
	*f = append(*f, unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset})
}

func (f *filter) answer(with uint32) {
	*f = append(*f, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: with})
}

// unless skips the next instructions if the loaded value compares so with k (BPF_JEQ, BPF_JSET, BPF_JGE).
func (f *filter) unless(compare uint16, k uint32, skipped uint8) {
	*f = append(*f, unix.SockFilter{Code: unix.BPF_JMP | compare | unix.BPF_K, K: k, Jt: skipped})
}

// when skips the next instructions if it does not.
func (f *filter) when(compare uint16, k uint32, skipped uint8) {
	*f = append(*f, unix.SockFilter{Code: unix.BPF_JMP | compare | unix.BPF_K, K: k, Jf: skipped})
}

const (
	refuse   = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	unknown  = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	killed   = uint32(unix.SECCOMP_RET_KILL_PROCESS)
	allowed  = uint32(unix.SECCOMP_RET_ALLOW)
	otherABI = 0x40000000 // calls of x32, which have numbers of their own
)

// callFilter also refuses to start processes, but for threads of the program itself, to signal anything but the Go
// runtime's own threads, and to change the limits of other processes.
func callFilter() filter {
	var f filter
	f.load(callMachine)
	f.unless(unix.BPF_JEQ, auditArch, 1)
	f.answer(killed)
	f.load(callNumber)
	f.when(unix.BPF_JGE, otherABI, 1)
	f.answer(killed)
	for _, call := range refusedCalls {
		f.when(unix.BPF_JEQ, call, 1)
		f.answer(refuse)
	}
	f.when(unix.BPF_JEQ, unix.SYS_CLONE3, 1) // its flags are out of sight; the C library goes on with clone
	f.answer(unknown)
	only := func(call, arg uint32, compare uint16, value uint32) {
		f.when(unix.BPF_JEQ, call, 4)
		f.load(argument(arg))
		f.when(compare, value, 1)
		f.answer(allowed)
		f.answer(refuse)
	}
	only(unix.SYS_CLONE, 0, unix.BPF_JSET, unix.CLONE_THREAD)
	only(unix.SYS_TGKILL, 2, unix.BPF_JEQ, uint32(unix.SIGURG))
	only(unix.SYS_PRLIMIT64, 0, unix.BPF_JEQ, 0)
	f.answer(allowed)
	return f
}

// filterCalls lays the filter on this thread. On a kernel without such filters it does nothing.
func filterCalls() error {
	if !canFilter() {
		return nil
	}
	f := callFilter()
	program := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program))); errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}
