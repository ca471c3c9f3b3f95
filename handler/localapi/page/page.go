// Package page is the try-it page: one HTML file with its scripts and styles, embedded in the binary and served as it
// lies, with no build step. All it shows comes from the server that it was loaded from: what a job may be from the
// schema, the rest from the local API, which it uses as any client does.
//
// It knows no job; the scripts know the API's paths (assets/api.js).
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

//go:embed assets
var assets embed.FS

// policy forbids whatever the page does not need. Nothing is loaded from elsewhere, no script or style stands in the HTML,
// no text becomes HTML. blob: is a file that the visitor has picked, data: a preview in a job's events.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; " +
	"connect-src 'self'; media-src 'self' blob:%s; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// types are the media types of the assets. The system's own table may say anything.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// asset is a file of the page.
type asset struct {
	kind, tag string
	data      []byte
}

// Handler serves the page at / and its parts under /page/; any other path is a 404. mediaOrigins are the origins besides
// its own that videos may be played from, such as https://bucket.example.
func Handler(mediaOrigins ...string) http.Handler {
	files := load()
	media := ""
	if len(mediaOrigins) > 0 {
		media = " " + strings.Join(mediaOrigins, " ")
	}
	csp := fmt.Sprintf(policy, media)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		one, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "the page is only read", http.StatusMethodNotAllowed)
			return
		}
		h := w.Header()
		h.Set("Content-Type", one.kind)
		h.Set("ETag", one.tag)
		h.Set("Cache-Control", "no-cache") // another version of the binary has other parts under the same names
		h.Set("Content-Security-Policy", csp)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Permissions-Policy", "microphone=(self), camera=(), geolocation=()")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(one.data))
	})
}

// load reads the embedded files, by the paths that they are served at.
func load() map[string]asset {
	files := map[string]asset{}
	entries, err := fs.ReadDir(assets, "assets")
	if err != nil {
		panic(err) // the compiler has put them there
	}
	for _, e := range entries {
		data, err := assets.ReadFile(path.Join("assets", e.Name()))
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(data)
		at := "/page/" + e.Name()
		if e.Name() == "index.html" {
			at = "/"
		}
		files[at] = asset{types[path.Ext(e.Name())], `"` + hex.EncodeToString(sum[:12]) + `"`, data}
	}
	return files
}

// Paths are all that Handler answers, sorted.
func Paths() []string {
	var all []string
	for at := range load() {
		all = append(all, at)
	}
	slices.Sort(all)
	return all
}
