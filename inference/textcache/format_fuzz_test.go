package textcache

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"
)

// FuzzDecode reads any file of the cache's folder, with a digest that fits so that more than the digest is tried: it is
// refused, or it is exactly the file that encode writes. Nothing larger than the file is made.
func FuzzDecode(f *testing.F) {
	key := Key{1, 2, 3}
	whole, err := encode(key, odd())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole[:len(whole)-sha256.Size])
	f.Add(whole[:header])
	f.Add(append(bytes.Clone(whole[:header-8]), 0, 0, 1, 0, 0, 0, 1, 0))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, body []byte) {
		sum := sha256.Sum256(body)
		b := append(bytes.Clone(body), sum[:]...)
		e, err := decode(key, b)
		if err != nil {
			if !errors.Is(err, errForeign) {
				t.Fatalf("%v", err)
			}
			return
		}
		if 4*len(e.Data) > len(b) {
			t.Fatalf("%d numbers of %d bytes", len(e.Data), len(b))
		}
		if again, err := encode(key, e); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%d x %d is not the file that it was read from: %v", e.Rows, e.Dim, err)
		}
		if _, err := decode(Key{9}, b); !errors.Is(err, errForeign) {
			t.Fatalf("it is another key's too: %v", err)
		}
		b[len(b)-1] ^= 1
		if _, err := decode(key, b); !errors.Is(err, errDamaged) {
			t.Fatalf("with another digest: %v", err)
		}
	})
}
