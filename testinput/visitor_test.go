package testinput_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/humo-worker/humo-worker/inference/weights"
)

// chromium is a browser of this machine. Without one there is nothing to test the page with.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome-stable", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("no Chromium on this machine (apt-get install chromium): the page is not tested")
	return ""
}

// serveDemo starts the local API on the demo weights and returns its address and environment.
func serveDemo(t *testing.T) (address string, env []string) {
	t.Helper()
	dir := t.TempDir()
	if err := weights.WriteDemo(filepath.Join(dir, "weights")); err != nil {
		t.Fatal(err)
	}
	env = append(os.Environ(), "ONNXRUNTIME_LIB="+library(), "HUMO_WEIGHTS="+filepath.Join(dir, "weights"), "HUMO_TMP="+filepath.Join(dir, "scratch"),
		"HUMO_OUTPUT="+filepath.Join(dir, "output"), "HUMO_CACHE=none")
	var mu sync.Mutex
	var lines bytes.Buffer
	cmd := exec.Command("humo-worker", "--rp_serve_api", "--rp_api_port", "0")
	cmd.Env, cmd.Dir = env, dir
	cmd.Stdout = writer(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return lines.Write(b)
	})
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt) //nolint:errcheck // it may be gone
		cmd.Wait()                       //nolint:errcheck // its lines say why
		if t.Failed() {
			t.Logf("the server:\n%s", lines.String())
		}
	})
	said := regexp.MustCompile(`https?://localhost:\d+`)
	for range 300 {
		mu.Lock()
		address = said.FindString(lines.String())
		mu.Unlock()
		if address != "" {
			return address, env
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("the server does not say where it is:\n%s", lines.String())
	return "", nil
}

// visitor is a browser tab, and what is to be held against the page.
type visitor struct {
	t    *testing.T
	ctx  context.Context
	home string

	mu         sync.Mutex
	abroad     []string // requests that leave the page's own server
	complaints []string // errors and warnings of the console
}

// visit opens the page and waits for the form.
func visit(t *testing.T, browser, home string) *visitor {
	t.Helper()
	v := open(t, browser, home)
	v.until(`!document.getElementById("form").hidden`)
	return v
}

func open(t *testing.T, browser, home string) *visitor {
	t.Helper()
	v := &visitor{t: t, home: home}
	allocator, stop := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(browser), chromedp.NoSandbox, // root and containers have no sandbox; the page is our own
		chromedp.Flag("use-fake-device-for-media-stream", true), chromedp.Flag("use-fake-ui-for-media-stream", true))...)
	t.Cleanup(stop)
	ctx, leave := chromedp.NewContext(allocator, chromedp.WithListener(v.hear))
	t.Cleanup(leave)
	v.ctx = ctx
	v.do(chromedp.EmulateViewport(1440, 1000))
	v.do(chromedp.Navigate(home))
	return v
}

func (v *visitor) hear(event any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if url := e.Request.URL; !strings.HasPrefix(url, v.home) && !strings.HasPrefix(url, "data:") && !strings.HasPrefix(url, "blob:") {
			v.abroad = append(v.abroad, url)
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" || e.Type == "assert" {
			v.complaints = append(v.complaints, fmt.Sprintf("%s: %s", e.Type, e.Args[0].Value))
		}
	case *runtime.EventExceptionThrown:
		v.complaints = append(v.complaints, fmt.Sprintf("%s %+v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
	case *log.EventEntryAdded:
		if e.Entry.Level == "error" || e.Entry.Level == "warning" {
			v.complaints = append(v.complaints, e.Entry.Text+" "+e.Entry.URL)
		}
	}
}

func (v *visitor) do(steps ...chromedp.Action[chromedp.Void]) {
	v.t.Helper()
	if err := chromedp.Do(v.ctx, steps...); err != nil {
		v.t.Fatal(err)
	}
}

// eval evaluates an expression, and waits for it if it is a promise.
func eval[T any](v *visitor, expression string) T {
	v.t.Helper()
	value, err := chromedp.Run(v.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		v.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// until waits until an expression is true, a minute at most.
func (v *visitor) until(expression string) {
	v.t.Helper()
	often, long := chromedp.WithPollingInterval(30*time.Millisecond), chromedp.WithPollingTimeout(time.Minute)
	_, err := chromedp.Run(v.ctx, chromedp.Poll[bool](expression, often, long))
	if err != nil {
		v.screenshot("failure")
		v.t.Fatalf("%s: %v\nconsole: %q", expression, err, v.complaints)
	}
}

func (v *visitor) click(selector string) { v.t.Helper(); v.do(chromedp.Click(chromedp.CSS(selector))) }

// enter replaces the text of a box.
func (v *visitor) enter(selector, text string) {
	v.t.Helper()
	v.do(chromedp.Focus(chromedp.CSS(selector)))
	eval[bool](v, `(document.activeElement.select(), true)`)
	v.do(chromedp.KeyEvent(text))
}

func (v *visitor) upload(selector string, files ...string) {
	v.t.Helper()
	for i, file := range files {
		path, err := filepath.Abs(file)
		if err != nil {
			v.t.Fatal(err)
		}
		files[i] = path
	}
	v.do(chromedp.SetUploadFiles(chromedp.CSS(selector), files))
}

// text is what stands in an element.
func (v *visitor) text(selector string) string {
	v.t.Helper()
	return eval[string](v, fmt.Sprintf(`document.querySelector(%q).textContent`, selector))
}

// theme sets what the system prefers: light or dark.
func (v *visitor) theme(name string) {
	v.t.Helper()
	_, err := chromedp.Call(v.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: name}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
	if err != nil {
		v.t.Fatal(err)
	}
}

// shots is where screenshots lie, for people to look at; git does not see it.
const shots = "../.demo/screenshots"

func (v *visitor) screenshot(name string) {
	v.t.Helper()
	picture, err := chromedp.Run(v.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.MkdirAll(shots, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(shots, name+".png"), picture, 0o644)
	}
	if err != nil {
		v.t.Error(err)
	}
}

// axe is the accessibility checker, axe-core 4.14.1, of which npm carries the file.
const (
	axePackage = "axe-core@4.14.1"
	axeSHA256  = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
)

// axe fetches it once into the user's cache folder. It is empty, and the log says why, if npm cannot.
func axe(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cache, "humo-worker", axePackage, "axe.min.js")
	if data, err := os.ReadFile(path); err == nil && sum(data) == axeSHA256 {
		return string(data)
	}
	dir := t.TempDir()
	fetch := exec.Command("npm", "pack", "--ignore-scripts", "--silent", "--pack-destination", dir, axePackage)
	if out, err := fetch.CombinedOutput(); err != nil {
		t.Logf("npm does not fetch %s, so accessibility is not checked: %v %s", axePackage, err, out)
		return ""
	}
	archives, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(archives) != 1 {
		t.Fatalf("npm left %q: %v", archives, err)
	}
	data, err := exec.Command("tar", "-xzOf", archives[0], "package/axe.min.js").Output()
	if err != nil || sum(data) != axeSHA256 {
		t.Fatalf("%s is not the pinned one: %v", axePackage, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}
