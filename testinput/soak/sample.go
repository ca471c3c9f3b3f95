package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// sample is what the worker holds at one moment.
type sample struct {
	Jobs        int     `json:"jobs"`    // done by then
	Seconds     float64 `json:"seconds"` // since the first job
	Rest        bool    `json:"rest"`    // no job was under way
	RSS         int64   `json:"rss"`     // bytes
	Anonymous   int64   `json:"anonymous"`
	Heap        int64   `json:"heap,omitempty"` // Go's, at the end of the last job
	Goroutines  int     `json:"goroutines,omitempty"`
	Descriptors int     `json:"descriptors"`
	Threads     int     `json:"threads"`
	Children    int     `json:"children"`
	TempFiles   int     `json:"temp_files"` // all that the worker may write but the next two
	TempBytes   int64   `json:"temp_bytes"`
	Prompts     int64   `json:"prompt_cache_bytes"`
	Remembered  int     `json:"remembered"`                // results, in the state folder
	Objects     int     `json:"unexpected_objects"`        // in the bucket; at rest only
	Unexpected  string  `json:"unexpected_name,omitempty"` // one of them
}

// look takes a sample of the process and of the folders that it writes.
func (w *world) look(p *worker, jobs int, since time.Time) sample {
	s := sample{Jobs: jobs, Seconds: time.Since(since).Seconds()}
	for line := range strings.Lines(p.proc("status")) {
		name, value, _ := strings.Cut(line, ":")
		n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch name {
		case "VmRSS":
			s.RSS = n << 10
		case "RssAnon":
			s.Anonymous = n << 10
		case "Threads":
			s.Threads = int(n)
		}
	}
	if open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.pid())); err == nil {
		s.Descriptors = len(open)
	}
	s.Children = children(p.pid())
	s.Goroutines, s.Heap = p.said()
	s.TempFiles, s.TempBytes = files(w.dir, filepath.Join(w.dir, "cache"), filepath.Join(w.dir, "state"))
	_, s.Prompts = files(filepath.Join(w.dir, "cache"))
	s.Remembered, _ = files(filepath.Join(w.dir, "state"))
	return s
}

// children counts the processes that a process has started and that are there.
func children(pid int) int {
	n := 0
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		if data, err := os.ReadFile(list); err == nil { // a thread may be gone
			n += len(strings.Fields(string(data)))
		}
	}
	return n
}

// files counts the files below a folder, and their bytes, but not those in some folders. The worker's lock files are no
// files that it leaves: they are there from its start.
func files(dir string, but ...string) (n int, bytes int64) {
	// What is removed while it is counted is not there.
	filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error { //nolint:errcheck // it returns none
		if err != nil {
			return nil //nolint:nilerr // see above
		}
		for _, other := range but {
			if path == other {
				return fs.SkipDir
			}
		}
		if entry.IsDir() || entry.Name() == "lock" {
			return nil
		}
		n++
		if info, err := entry.Info(); err == nil {
			bytes += info.Size()
		}
		return nil
	})
	return n, bytes
}
