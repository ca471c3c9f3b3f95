// Package textcache keeps the embeddings of recent prompts, in memory and in a folder, so that a prompt that is known
// needs no text encoder. It gives back exactly the numbers that were put in, or nothing: a file that is damaged, cut short
// or somebody else's counts as absent, and a folder that cannot be used costs time, never a job.
//
// It must not know what a text is: callers ask by a key, and no file holds more than that key and the numbers.
package textcache

import (
	"container/list"
	"errors"
	"io/fs"
	"sync"

	"github.com/rs/zerolog"
)

// Key tells embeddings apart: a digest of the text and of all that turns it into numbers.
type Key [32]byte

// Embedding is an encoded text: Data is [Rows, Dim]. Who gets one from the cache shares it and must not change it.
type Embedding struct {
	Rows, Dim int
	Data      []float32
}

func (e *Embedding) bytes() int64 { return int64(len(e.Data)) * 4 }

// memoryBytes bounds what is kept in memory: 8 texts of the longest kind (512 tokens of 4096 numbers), 60 of the usual.
const memoryBytes = 64 << 20

// Cache is safe for use by several goroutines, and its folder by several processes.
type Cache struct {
	log    zerolog.Logger
	folder *folder // nil: memory only
	limit  int64   // of memory, in bytes

	mu      sync.Mutex
	held    int64
	recent  *list.List // of *entry, the latest used first
	entries map[Key]*list.Element
}

type entry struct {
	key   Key
	value *Embedding
}

// Open makes an empty cache over the configured folder, which is made when the first text is put in.
func Open(cfg Config, log zerolog.Logger) *Cache {
	c := &Cache{log: log, limit: memoryBytes, recent: list.New(), entries: map[Key]*list.Element{}}
	if dir := cfg.Dir(); dir != "" && cfg.Megabytes > 0 {
		c.folder = &folder{dir: dir, limit: int64(cfg.Megabytes) << 20}
	}
	return c
}

// Get returns what was put in under the key, or nil.
func (c *Cache) Get(key Key) *Embedding {
	c.mu.Lock()
	found, ok := c.entries[key]
	if ok {
		c.recent.MoveToFront(found)
	}
	c.mu.Unlock()
	if ok {
		return found.Value.(*entry).value
	}
	if c.folder == nil {
		return nil
	}
	e, err := c.folder.read(key)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.log.Warn().Err(err).Msg("A file of the prompt cache cannot be used; the text is encoded again.")
		}
		return nil
	}
	c.keep(key, e)
	return e
}

// Put keeps an embedding, and drops those that were not used for the longest time where there is no room.
func (c *Cache) Put(key Key, e *Embedding) {
	c.keep(key, e)
	if c.folder == nil {
		return
	}
	if err := c.folder.write(key, e); err != nil {
		c.log.Warn().Err(err).Str("folder", c.folder.dir).
			Msg("The prompt cache cannot be written; name another folder in HUMO_CACHE, or turn it off with HUMO_CACHE=none.")
	}
}

// keep holds an embedding in memory.
func (c *Cache) keep(key Key, e *Embedding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.entries[key]; ok || e.bytes() > c.limit {
		return
	}
	c.entries[key] = c.recent.PushFront(&entry{key, e})
	for c.held += e.bytes(); c.held > c.limit; {
		last := c.recent.Remove(c.recent.Back()).(*entry)
		delete(c.entries, last.key)
		c.held -= last.value.bytes()
	}
}
