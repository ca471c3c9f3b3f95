package storage

import "time"

func init() { maxPause = 20 * time.Millisecond }

// Backdated is the store as it was at another time: what it signs is signed then.
func Backdated(store Store, age time.Duration) Store {
	then := func() time.Time { return time.Now().Add(-age) }
	switch s := store.(type) {
	case *S3:
		c := *s
		c.now = then
		return &c
	case *Local:
		c, links := *s, *s.links
		links.now = then
		c.links = &links
		return &c
	}
	panic("no such store")
}
