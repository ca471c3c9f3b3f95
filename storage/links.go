package storage

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
)

// FilesPath begins the paths that Local.Files serves: FilesPath + key.
const FilesPath = "/files/"

// links makes and checks signed URLs: BASE/files/KEY?expires=UNIX-SECONDS&signature=HEX. The signature is an
// HMAC-SHA256 of the key and the time, so that it is good for one object and nothing else.
type links struct {
	base   string
	secret []byte
	expiry time.Duration
	now    func() time.Time
}

func newLinks(cfg LocalConfig) *links {
	if cfg.BaseURL == "" {
		return nil
	}
	secret := []byte(cfg.Secret)
	if len(secret) == 0 {
		secret = []byte(rand.Text())
	}
	expiry, _ := lifetime(cfg.Expiry) // Validate has refused what is out of range
	return &links{base: strings.TrimRight(cfg.BaseURL, "/"), secret: secret, expiry: expiry, now: time.Now}
}

func (l *links) sign(key string) Object {
	at := l.now().UTC().Truncate(time.Second).Add(l.expiry)
	expires := strconv.FormatInt(at.Unix(), 10)
	target := url.URL{Path: FilesPath + key, RawQuery: "expires=" + expires + "&signature=" + hex.EncodeToString(l.mac(key, expires))}
	return Object{Key: key, URL: l.base + target.String(), ExpiresAt: at}
}

// verify returns why a URL is refused; empty: it is good.
func (l *links) verify(key string, query url.Values) string {
	expires := query.Get("expires")
	signature, err := hex.DecodeString(query.Get("signature"))
	if err != nil || !hmac.Equal(signature, l.mac(key, expires)) {
		return "the link is not signed, or was changed"
	}
	if at, err := strconv.ParseInt(expires, 10, 64); err != nil || l.now().Unix() >= at {
		return "the link has expired"
	}
	return ""
}

// mac keeps the parts apart with a byte that neither of them may hold.
func (l *links) mac(key, expires string) []byte {
	h := hmac.New(sha256.New, l.secret)
	fmt.Fprintf(h, "humo-worker file\x00%s\x00%s", key, expires) //nolint:errcheck // a hash takes everything
	return h.Sum(nil)
}

// Files serves the objects under FilesPath to whoever has a signed URL, whole or in ranges. Without BaseURL it serves
// nothing.
func (l *Local) Files() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
			return
		}
		key, ok := strings.CutPrefix(r.URL.Path, FilesPath)
		if !ok || l.links == nil {
			http.NotFound(w, r)
			return
		}
		if reason := l.links.verify(key, r.URL.Query()); reason != "" { // before anything tells whether the object is there
			http.Error(w, reason, http.StatusForbidden)
			return
		}
		l.serve(w, r, key)
	})
}

func (l *Local) serve(w http.ResponseWriter, r *http.Request, key string) {
	f, err := l.open(r.Context(), key)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	defer f.Close() //nolint:errcheck // only read from
	info, err := f.Stat()
	if err != nil {
		http.NotFound(w, r)
		return
	}
	header := w.Header()
	header.Set("Content-Type", contentTypeOf(key))
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "private")
	// Times in headers are whole seconds; this tells two versions of one second apart when a download is resumed.
	header.Set("ETag", fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size()))
	http.ServeContent(w, r, "", info.ModTime(), f)
}

// contentTypeOf does not ask the system's tables, which lack video/mp4 on small images.
func contentTypeOf(key string) string {
	switch strings.ToLower(path.Ext(key)) {
	case ".mp4":
		return "video/mp4"
	case ".json":
		return "application/json"
	}
	return "application/octet-stream"
}
