package localapi

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/humo-worker/humo-worker/handler/runpod"
)

// uploads are files that clients sent, so that jobs can name them: "upload:NAME" stands for the bytes. They are removed
// some time after their last use, and when the server ends.
type uploads struct {
	dir string

	mu    sync.Mutex
	files map[string]*upload
	bytes int64 // of all, those on their way included
}

type upload struct {
	size    int64
	kind    string // media type
	label   string // the client's name for it, as the client escaped it
	users   int    // jobs that wait or run
	expires time.Time
}

const uploadScheme = "upload:"

var uploadName = regexp.MustCompile(`^[A-Z2-7]{26}$`)

func newUploads(dir string) *uploads { return &uploads{dir: dir, files: map[string]*upload{}} }

// put stores a file.
func (u *uploads) put(from io.Reader, kind, label string) (Upload, error) {
	u.mu.Lock()
	full := len(u.files) >= maxUploadFiles
	u.mu.Unlock()
	if full {
		return Upload{}, uploadsFull()
	}
	name := rand.Text()
	path := filepath.Join(u.dir, name)
	counter := &counted{uploads: u}
	size, err := save(path, counter, from)
	u.mu.Lock()
	defer u.mu.Unlock()
	if err == nil && size == 0 {
		err = refuse(http.StatusBadRequest, "empty_upload", "", "The body is empty: send the file's bytes as the body.")
	}
	if err != nil {
		u.bytes -= counter.n
		os.Remove(path) //nolint:errcheck // the folder goes with the server
		return Upload{}, err
	}
	expires := time.Now().Add(uploadLife)
	u.files[name] = &upload{size: size, kind: kind, label: label, expires: expires}
	return Upload{Source: uploadScheme + name, Bytes: size, ExpiresAt: expires.UTC().Truncate(time.Second)}, nil
}

func save(path string, counter *counted, from io.Reader) (size int64, err error) {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	counter.to = out
	size, err = io.Copy(counter, from)
	return size, errors.Join(err, out.Close())
}

// counted takes what is written from the room that all uploads have.
type counted struct {
	*uploads
	to io.Writer
	n  int64
}

func (c *counted) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.bytes += int64(len(p))
	c.n += int64(len(p))
	full := c.bytes > maxUploads
	c.mu.Unlock()
	if full {
		return 0, uploadsFull()
	}
	return c.to.Write(p)
}

func uploadsFull() error {
	r := refuse(http.StatusTooManyRequests, "uploads_full", "", "There is no room for uploads: %d files or %d MB. They are removed %.0f minutes after their last use; DELETE /uploads/NAME removes one now.",
		maxUploadFiles, maxUploads/1_000_000, uploadLife.Minutes())
	r.retryAfter = time.Minute
	return r
}

// open opens a file for reading.
func (u *uploads) open(name string) (f *os.File, kind, label string, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	file := u.files[name]
	if file == nil {
		return nil, "", "", noUpload()
	}
	f, err = os.Open(filepath.Join(u.dir, name))
	return f, file.kind, file.label, err
}

func noUpload() error {
	return refuse(http.StatusNotFound, "upload_not_found", "id", "There is no such upload.")
}

// hold keeps files for a job.
func (u *uploads) hold(names []string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, name := range names {
		if u.files[name] == nil {
			return uploadGone("input", name)
		}
	}
	for _, name := range names {
		u.files[name].users++
	}
	return nil
}

func uploadGone(field, name string) error {
	return refuse(http.StatusBadRequest, "upload_not_found", field, "There is no upload %s%s. Uploads are removed %.0f minutes after their last use: send the file again.", uploadScheme, name, uploadLife.Minutes())
}

// release is hold's opposite.
func (u *uploads) release(names []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, name := range names {
		u.files[name].users--
		u.files[name].expires = time.Now().Add(uploadLife)
	}
}

// sweep removes what has expired.
func (u *uploads) sweep(now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for name, file := range u.files {
		if file.users == 0 && now.After(file.expires) {
			u.drop(name)
		}
	}
}

// remove removes a file that no job needs.
func (u *uploads) remove(name string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch file := u.files[name]; {
	case file == nil:
		return noUpload()
	case file.users > 0:
		return refuse(http.StatusConflict, "upload_in_use", "id", "A job that waits or runs needs this upload.")
	}
	u.drop(name)
	return nil
}

func (u *uploads) drop(name string) {
	u.bytes -= u.files[name].size
	delete(u.files, name)
	os.Remove(filepath.Join(u.dir, name)) //nolint:errcheck // the folder goes with the server
}

// named lists the uploads that an input names.
func (u *uploads) named(input json.RawMessage) ([]string, error) {
	var names []string
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, place := range references(input) {
		if u.files[place.name] == nil {
			return nil, uploadGone(place.field, place.name)
		}
		names = append(names, place.name)
	}
	return names, nil
}

// filled is an input with the bytes of uploads in the place of their names, in the form in which any job can bring bytes.
func (u *uploads) filled(input json.RawMessage) (json.RawMessage, error) {
	var out bytes.Buffer
	at := 0
	for _, place := range references(input) {
		data, err := os.ReadFile(filepath.Join(u.dir, place.name))
		if err != nil {
			return nil, runpod.Fail("upload_not_found", "The upload %s%s cannot be read any more; send the file again.", uploadScheme, place.name)
		}
		out.Grow(place.from - at + base64.StdEncoding.EncodedLen(len(data)) + 16)
		out.Write(input[at:place.from])
		out.WriteString(`{"data":"`)
		out.Write(base64.StdEncoding.AppendEncode(out.AvailableBuffer(), data))
		out.WriteString(`"}`)
		at = place.to
	}
	if at == 0 {
		return input, nil
	}
	out.Write(input[at:])
	return out.Bytes(), nil
}

// reference is a text of an input that names an upload, and where it stands.
type reference struct {
	name     string
	field    string // such as images[0]
	from, to int
}

// level is an object or a list that a reader of JSON is in.
type level struct {
	object bool
	key    bool // the next text is a key
	name   string
	index  int
}

// references finds the values, not the keys, of an input that name uploads. The input is valid JSON.
func references(input json.RawMessage) (all []reference) {
	if !bytes.Contains(input, []byte(`"`+uploadScheme)) {
		return nil
	}
	in := json.NewDecoder(bytes.NewReader(input))
	in.UseNumber()
	var levels []level
	for {
		token, err := in.Token()
		if err != nil {
			return all
		}
		if t, ok := token.(json.Delim); ok && (t == '{' || t == '[') {
			levels = append(levels, level{object: t == '{', key: t == '{'})
			continue
		} else if ok {
			levels = levels[:len(levels)-1]
		}
		top := &level{}
		if len(levels) > 0 {
			top = &levels[len(levels)-1]
		}
		text, isText := token.(string)
		if isText && top.key {
			top.name, top.key = text, false
			continue
		}
		to := int(in.InputOffset())
		from := max(to-len(text)-2, 0)
		if name, ok := strings.CutPrefix(text, uploadScheme); isText && ok && uploadName.MatchString(name) && string(input[from:to]) == `"`+text+`"` {
			all = append(all, reference{name, fieldOf(levels), from, to})
		}
		top.key = top.object
		top.index++
	}
}

// fieldOf writes where a reader is as the path of a field.
func fieldOf(levels []level) string {
	var path strings.Builder
	for _, l := range levels {
		if !l.object {
			fmt.Fprintf(&path, "[%d]", l.index)
			continue
		}
		if path.Len() > 0 {
			path.WriteByte('.')
		}
		path.WriteString(l.name)
	}
	return path.String()
}
