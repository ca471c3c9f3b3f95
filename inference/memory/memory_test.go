package memory

import (
	"testing"
	"testing/fstest"
)

func TestAvailable(t *testing.T) {
	const meminfo = "MemTotal:       32000000 kB\nMemAvailable:   8000000 kB\nSwapFree:             1000 kB\n"
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for _, test := range []struct {
		name  string
		files fstest.MapFS
		want  int64
		ok    bool
	}{
		{"not told", fstest.MapFS{}, 0, false},
		{"the machine's", fstest.MapFS{"proc/meminfo": file(meminfo)}, 8001000 * 1024, true},
		{"no limit", fstest.MapFS{"proc/meminfo": file(meminfo), "sys/fs/cgroup/memory.max": file("max\n")}, 8001000 * 1024, true},
		{"a container's, of which cached files are free", fstest.MapFS{"proc/meminfo": file(meminfo),
			"sys/fs/cgroup/memory.max": file("1000000\n"), "sys/fs/cgroup/memory.current": file("700000\n"),
			"sys/fs/cgroup/memory.stat": file("anon 200000\nfile 500000\nshmem 100000\n")}, 700000 + 1000*1024, true},
		{"a group above", fstest.MapFS{"proc/meminfo": file(meminfo), "proc/self/cgroup": file("0::/a/b\n"),
			"sys/fs/cgroup/a/memory.max": file("5000\n"), "sys/fs/cgroup/a/memory.current": file("2000\n"),
			"sys/fs/cgroup/a/b/memory.max": file("max\n")}, 3000 + 1000*1024, true},
		{"the older kind", fstest.MapFS{"proc/meminfo": file(meminfo),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("4096\n"), "sys/fs/cgroup/memory/memory.usage_in_bytes": file("4096\n"),
			"sys/fs/cgroup/memory/memory.stat": file("cache 1\ntotal_cache 1000\ntotal_shmem 0\n")}, 1000 + 1000*1024, true},
		{"over its limit", fstest.MapFS{"proc/meminfo": file("MemAvailable: 1 kB\n"),
			"sys/fs/cgroup/memory.max": file("10\n"), "sys/fs/cgroup/memory.current": file("20\n")}, 0, true},
	} {
		if got, ok := available(test.files); got != test.want || ok != test.ok {
			t.Errorf("%s: %d %v, want %d %v", test.name, got, ok, test.want, test.ok)
		}
	}
}
