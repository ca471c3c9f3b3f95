package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// memory is what the process holds, in GB: anonymous pages, mapped pages and their sum.
type memory struct{ anonymous, file, total float64 }

// watcher samples the process's memory and keeps the largest values.
type watcher struct {
	mu   sync.Mutex
	peak memory
	done chan struct{}
	gone chan struct{}
}

// interval is short against any operator at full size.
const interval = 20 * time.Millisecond

func watch() *watcher {
	w := &watcher{done: make(chan struct{}), gone: make(chan struct{})}
	go func() {
		defer close(w.gone)
		for {
			w.sample()
			select {
			case <-w.done:
				return
			case <-time.After(interval):
			}
		}
	}()
	return w
}

func (w *watcher) sample() {
	now := resident()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.peak.anonymous = max(w.peak.anonymous, now.anonymous)
	w.peak.file = max(w.peak.file, now.file)
	w.peak.total = max(w.peak.total, now.total)
}

// reset forgets the peak so far.
func (w *watcher) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.peak = memory{}
}

func (w *watcher) stop() memory {
	close(w.done)
	<-w.gone
	return w.peak
}

func resident() memory {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return memory{}
	}
	var m memory
	for line := range strings.Lines(string(text)) {
		var kB float64
		name, rest, _ := strings.Cut(line, ":")
		if _, err := fmt.Sscan(rest, &kB); err != nil {
			continue
		}
		switch name {
		case "RssAnon":
			m.anonymous = kB * 1024 / 1e9
		case "RssFile":
			m.file = kB * 1024 / 1e9
		}
	}
	m.total = m.anonymous + m.file
	return m
}
