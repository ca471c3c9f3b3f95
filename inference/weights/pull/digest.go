package pull

import (
	"context"
	"crypto/sha1" // git's name for a content
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
)

// digest reads a file to its end and returns the SHA-256 and, if asked for, git's SHA-1 of it. told hears how far it is.
func digest(ctx context.Context, name string, git bool, told func(bytes int64)) (sum, blob string, err error) {
	f, err := os.Open(name)
	if err != nil {
		return "", "", err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return "", "", err
	}
	wide, narrow := sha256.New(), sha1.New()
	_, _ = fmt.Fprintf(narrow, "blob %d\x00", st.Size()) // a hash takes all
	to := []io.Writer{wide}
	if git {
		to = append(to, narrow)
	}
	w, buffer := io.MultiWriter(to...), make([]byte, 1<<20)
	for read := int64(0); ; {
		n, err := f.Read(buffer)
		_, _ = w.Write(buffer[:n])
		if read += int64(n); n > 0 {
			told(read)
		}
		switch {
		case err == io.EOF:
			return text(wide), text(narrow), nil
		case err != nil:
			return "", "", err
		case ctx.Err() != nil:
			return "", "", context.Cause(ctx)
		}
	}
}

func text(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }
