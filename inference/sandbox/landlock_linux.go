package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Rights on files, in Landlock's words.
const (
	readOnly  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	runnable  = readOnly | unix.LANDLOCK_ACCESS_FS_EXECUTE
	writeFile = readOnly | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	ownFolder = writeFile | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REFER
	ofFiles = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_EXECUTE
)

// systemPlaces is what any program may need: libraries, and what they ask about the machine. None of it holds secrets, and
// no weights or jobs lie there.
var systemPlaces = map[string]uint64{
	"/usr": runnable, "/lib": runnable, "/lib32": runnable, "/lib64": runnable, "/bin": runnable, "/sbin": runnable, "/nix/store": runnable,
	"/etc/ld.so.cache": readOnly, "/etc/ld.so.preload": readOnly, "/etc/localtime": readOnly, "/etc/gnutls": readOnly, "/etc/ssl/openssl.cnf": readOnly,
	"/dev/null": writeFile, "/dev/zero": readOnly, "/dev/random": readOnly, "/dev/urandom": readOnly,
	"/proc/cpuinfo": readOnly, "/proc/meminfo": readOnly, "/proc/stat": readOnly, "/sys/devices/system": readOnly,
	"/sys/kernel/mm/transparent_hugepage": readOnly,
}

// landlockABI is the version of the kernel's Landlock, 0 without one.
func landlockABI() int {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(version)
}

// hideFiles leaves the program the files of the policy. On a kernel without Landlock it does nothing.
func (c *confinement) hideFiles() error {
	abi := landlockABI()
	if abi < 1 {
		return nil
	}
	rules := landlockRules(abi)
	set, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&rules)), unsafe.Sizeof(rules), 0)
	if errno != 0 {
		return fmt.Errorf("landlock: %w", errno)
	}
	defer unix.Close(int(set)) //nolint:errcheck // the rules are in force without it
	allow := func(path string, access uint64) error {
		if err := allowBeneath(int(set), path, access&rules.Handled_access_fs); err != nil {
			return fmt.Errorf("landlock: %s: %w", path, err)
		}
		return nil
	}
	places := []struct {
		paths  []string
		access uint64
	}{
		{[]string{c.Program, libraries(c.Program)}, runnable},
		{filepath.SplitList(os.Getenv("LD_LIBRARY_PATH")), runnable},
		{c.Read, readOnly},
		{c.Write, writeFile},
		{[]string{c.Own}, ownFolder},
	}
	var problems []error
	for path, access := range systemPlaces {
		problems = append(problems, allow(path, access))
	}
	for _, p := range places {
		for _, path := range p.paths {
			if strings.HasPrefix(path, "/") && filepath.Clean(path) != "/" {
				problems = append(problems, allow(path, p.access))
			}
		}
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, set, 0, 0); errno != 0 {
		return fmt.Errorf("landlock: %w", errno)
	}
	return nil
}

// landlockRules forbids all that this version of Landlock can forbid.
func landlockRules(abi int) unix.LandlockRulesetAttr {
	rules := unix.LandlockRulesetAttr{Handled_access_fs: unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1}
	if abi >= 2 {
		rules.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		rules.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 4 {
		rules.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if abi >= 5 {
		rules.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= 6 {
		rules.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	return rules
}

// allowBeneath allows access to a file, or to all that lies in a folder. What is not there needs no rule.
func allowBeneath(set int, path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOTDIR) {
		return nil // the program will not get there either
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // a name only
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		access &= ofFiles
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	if _, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(set), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}
