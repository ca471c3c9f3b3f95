package handler

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/humo-worker/humo-worker/handler/fetch"
	"github.com/humo-worker/humo-worker/handler/fetch/fetchtest"
	"github.com/humo-worker/humo-worker/inference"
)

// secret stands for the signature in a URL.
const secret = "CANARY7f3a"

// newWebBench is a handler on an internet of its own, and a check that it leaves nothing running.
func newWebBench(t *testing.T, config fetch.Config) (*bench, *fetchtest.World) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	w := fetchtest.New(t)
	config.Trusted, config.Resolver, config.Roots = []string{fetchtest.Public}, w, w.Roots
	return newBenchWith(t, Config{Variant: inference.Variant1B, Fetch: config}), w
}

// serve answers path with data.
func serve(w *fetchtest.World, path string, data []byte) {
	w.Mux.HandleFunc(path, func(out http.ResponseWriter, _ *http.Request) {
		out.Write(data) //nolint:errcheck // a test's server
	})
}

// TestHandleURLs: what is fetched is told by its bytes, whatever its name is.
func TestHandleURLs(t *testing.T) {
	b, w := newWebBench(t, fetch.Config{})
	serve(w, "/voice.png", wav(t, 1.5))
	serve(w, "/face.wav", picture(t, 40, 30))
	w.Mux.Handle("/moved", http.RedirectHandler("/voice.png?s="+secret, http.StatusSeeOther))
	secure, plain := "https://good.example:"+w.Secure, "http://good.example:"+w.Plain
	for _, input := range []string{
		`"audio": "` + secure + `/voice.png?s=` + secret + `", "images": ["` + plain + `/face.wav", "volume:face.png", "` + secure + `/face.wav"]`,
		`"audio_path": "` + secure + `/moved", "image_path": "HTTPS://good.example:` + w.Secure + `/face.wav"`,
	} {
		for _, local := range []bool{false, true} {
			if local {
				input = strings.ReplaceAll(input, `"volume:face.png", `, "") // a plain path there
			}
			if _, err := b.Handle(t.Context(), Job{ID: fmt.Sprint(len(b.engine.specs)), Input: json.RawMessage(`{"prompt": "p", ` + input + `}`), LocalPaths: local}, &b.progressed); err != nil {
				t.Errorf("%s: %v", input, err)
			}
		}
	}
	if n := len(b.engine.specs); n != 4 {
		t.Errorf("%d clips, want 4", n)
	}
	if strings.Contains(b.log.String(), secret) {
		t.Errorf("the log holds a signature:\n%s", b.log.String())
	}
}

// TestCheck61_HostileURLs: every source is refused with its code; no private address is connected to; the engine is not
// asked; no answer and no log holds the signature.
func TestCheck61_HostileURLs(t *testing.T) {
	b, w := newWebBench(t, fetch.Config{Patience: 400 * time.Millisecond, PerURL: 5 * time.Second})
	for path, data := range map[string][]byte{
		"/empty":            nil,
		"/page.wav":         []byte("<!DOCTYPE html><html><body>Sign in " + secret),
		"/hls.wav":          []byte("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"),
		"/hls-http.mp3":     []byte("#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:" + w.Plain + "/\n"),
		"/concat.wav":       []byte("ffconcat version 1.0\nfile /etc/passwd\n"),
		"/dash.wav":         []byte("<?xml version=\"1.0\"?><MPD><BaseURL>http://127.0.0.1:" + w.Plain + "/</BaseURL></MPD>"),
		"/sdp.wav":          []byte("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n"),
		"/hours.flac":       silence(t),
		"/bomb.png":         bomb(),
		"/cut.png":          picture(t, 400, 300)[:90],
		"/face.svg.png":     []byte(`<svg xmlns="http://www.w3.org/2000/svg"><image href="http://127.0.0.1:` + w.Plain + `/"/></svg>`),
		"/picture.wav":      picture(t, 40, 30),
		"/voice.wav":        wav(t, 1),
		"/archive.png":      []byte("PK\x03\x04" + strings.Repeat("\x00", 100)),
		"/lying-header.wav": append([]byte("RIFF\xff\xff\xff\xffWAVEfmt \x10\x00\x00\x00\x01\x00\xff\xff\xff\xff\xff\xff"), make([]byte, 100)...),
		"/too-large.png":    make([]byte, MaxImageBytes+1),
	} {
		serve(w, path, data)
	}
	w.Mux.HandleFunc("/declared", func(out http.ResponseWriter, _ *http.Request) { out.Header().Set("Content-Length", "100000001") })
	w.Mux.HandleFunc("/endless", func(out http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			out.Write(make([]byte, 1<<20)) //nolint:errcheck // a test's server
		}
	})
	w.Mux.HandleFunc("/stalls", func(out http.ResponseWriter, r *http.Request) {
		out.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	w.Mux.HandleFunc("/silent", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	w.Mux.HandleFunc("/busy", func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(http.StatusServiceUnavailable) })
	w.Mux.HandleFunc("/gone", func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(http.StatusForbidden) })
	w.Mux.HandleFunc("/gzip", func(out http.ResponseWriter, _ *http.Request) { out.Header().Set("Content-Encoding", "gzip") })
	w.Mux.HandleFunc("/loop", func(out http.ResponseWriter, r *http.Request) {
		http.Redirect(out, r, r.URL.String(), http.StatusFound)
	})
	for path, target := range map[string]string{
		"/to-private": "https://127.0.0.1:" + w.Plain + "/" + secret, "/to-file": "file:///etc/passwd", "/to-user": "https://a:" + secret + "@good.example/", "/to-plain": "http://good.example:" + w.Plain + "/voice.wav",
	} {
		w.Mux.Handle(path, http.RedirectHandler(target, http.StatusFound))
	}

	for _, c := range []struct {
		code      string
		retryable bool
		urls      []string // of audio; those of pictures stand after "image "
	}{
		{fetch.CodeForbiddenAddress, false, []string{
			"http://127.0.0.1:PORT/a.wav", "http://[::1]:PORT/", "http://[::ffff:127.0.0.1]:PORT/", "http://localhost:PORT/", "http://private.example:PORT/", "http://mixed.example:PORT/",
			"http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/", "http://100.64.0.1/", "http://[64:ff9b::a9fe:a9fe]/", "http://[2002:7f00:1::]/", "http://0.0.0.0:PORT/",
			"image http://metadata.google.internal/computeMetadata/v1/", "image https://192.168.0.1/a.png", "GOOD/to-private", "http://8.8.8.8:6379/",
		}},
		{fetch.CodeBadURL, false, []string{
			"http://2130706433:PORT/", "http://0x7f.1:PORT/", "http://017700000001/", "http://127.0.0.1.:PORT/", "http://１２７.0.0.1/", "https://user:" + secret + "@good.example/", "https://good.example@127.0.0.1/",
			"https://", "http:///a.wav", "https:good.example", "image http://[fe80::1%25lo]/", "image https://good.example:0x50/", "GOOD/to-file", "GOOD/to-user",
		}},
		{CodeInvalidSource, false, []string{"file:///etc/passwd", "ftp://good.example/a.wav", "gopher://127.0.0.1:PORT/", "image //good.example/a.png", "image concat:/etc/passwd", "image subfile,,start,0,end,9,,:/etc/passwd"}},
		{fetch.CodeRedirects, false, []string{"GOOD/loop", "GOOD/to-plain"}},
		{fetch.CodeUnreachable, false, []string{"https://absent.example/"}},
		{fetch.CodeUnreachable, true, []string{"https://good.example:PORT/voice.wav"}},
		{fetch.CodeTimeout, true, []string{"GOOD/stalls", "GOOD/silent", "https://hangs.example/"}},
		{fetch.CodeHTTPStatus, false, []string{"GOOD/gone", "image GOOD/absent.png"}},
		{fetch.CodeHTTPStatus, true, []string{"GOOD/busy"}},
		{fetch.CodeEncoded, false, []string{"GOOD/gzip"}},
		{CodeSourceTooLarge, false, []string{"GOOD/declared", "GOOD/endless", "image GOOD/too-large.png"}},

		// what the bytes are
		{"audio_undecodable", false, []string{"GOOD/page.wav", "GOOD/hls.wav", "GOOD/hls-http.mp3", "GOOD/concat.wav", "GOOD/dash.wav", "GOOD/sdp.wav", "GOOD/picture.wav", "GOOD/lying-header.wav"}},
		{"audio_empty", false, []string{"GOOD/empty"}},
		{"audio_too_long", false, []string{"GOOD/hours.flac"}},
		{"image_undecodable", false, []string{"image GOOD/empty", "image GOOD/cut.png"}},
		{"image_unsupported", false, []string{"image GOOD/page.wav", "image GOOD/face.svg.png", "image GOOD/voice.wav", "image GOOD/archive.png", "image GOOD/hls.wav"}},
		{"image_too_large", false, []string{"image GOOD/bomb.png"}},
	} {
		for _, u := range c.urls {
			u, isImage := strings.CutPrefix(u, "image ")
			u = strings.NewReplacer("GOOD", "https://good.example:"+w.Secure, "PORT", w.Plain).Replace(u) + "?X-Amz-Signature=" + secret
			input, field := `{"prompt": "p", "audio": "`+u+`"}`, "audio"
			if isImage {
				input, field = `{`+valid+`"images": ["`+u+`"]}`, "images[0]"
			}
			b.log.Reset()
			connections := w.Connections()
			_, err := b.handle(t, input)
			if err == nil {
				t.Errorf("%s: no error, want %s", u, c.code)
				continue
			}
			answer, _ := json.Marshal(FailureOf(err))
			if e := FailureOf(err).Output.Error; e.Code != c.code || e.Field != field || e.Retryable != c.retryable || len(e.Detail) != 1 {
				t.Errorf("%s: %s, want %s of %s, retryable %t", u, answer, c.code, field, c.retryable)
			}
			if strings.Contains(string(answer)+err.Error()+b.log.String(), secret) {
				t.Errorf("%s: a signature in the answer %s, the error %v or the log\n%s", u, answer, err, b.log.String())
			}
			if n := w.Trapped(); n > 0 {
				t.Errorf("%s: %d connections to a private address", u, n)
			}
			if n := w.Connections() - connections; n > 0 && !strings.Contains(u, "good.example:") {
				t.Errorf("%s: %d connections to the public server", u, n)
			}
		}
	}
	if n := len(b.engine.specs); n > 0 {
		t.Errorf("the engine was asked for %d of the bad jobs", n)
	}
}

// TestHandleFetchesTogether: a job's sources come at the same time, four of them at most, and a problem with one does
// not hide that with another.
func TestHandleFetchesTogether(t *testing.T) {
	b, w := newWebBench(t, fetch.Config{})
	var mu sync.Mutex
	var now, most int
	four := make(chan struct{})
	face := picture(t, 8, 8)
	w.Mux.HandleFunc("/face/", func(out http.ResponseWriter, r *http.Request) {
		mu.Lock()
		now++
		if most = max(most, now); most == maxAtOnce && now == maxAtOnce {
			select {
			case <-four:
			default:
				close(four)
			}
		}
		mu.Unlock()
		select {
		case <-four:
		case <-r.Context().Done(): // fewer than four come: let the test fail instead of waiting for ever
		}
		time.Sleep(20 * time.Millisecond) // so that a fifth, if there were one, would be seen
		mu.Lock()
		now--
		mu.Unlock()
		if strings.HasSuffix(r.URL.Path, "bad") {
			out.WriteHeader(http.StatusNotFound)
			return
		}
		out.Write(face) //nolint:errcheck // a test's server
	})
	var images []string
	for i := range MaxImages {
		suffix := ""
		if i == 2 || i == 5 {
			suffix = "bad"
		}
		images = append(images, fmt.Sprintf(`"http://good.example:%s/face/%d%s"`, w.Plain, i, suffix))
	}
	_, err := b.handle(t, `{`+valid+`"images": [`+strings.Join(images, ", ")+`]}`)
	var got []string
	for _, d := range FailureOf(err).Output.Error.Detail {
		got = append(got, d.Code+" "+d.Field)
	}
	if want := "source_http_status images[2], source_http_status images[5]"; strings.Join(got, ", ") != want {
		t.Errorf("problems %q, want %s", got, want)
	}
	if most != maxAtOnce {
		t.Errorf("%d requests at the same time, want %d", most, maxAtOnce)
	}
}

// TestHandleDownloadLimits: all sources of a job together have a limit of bytes and one of time.
func TestHandleDownloadLimits(t *testing.T) {
	b, w := newWebBench(t, fetch.Config{PerJobBytes: 100_000, PerJob: 500 * time.Millisecond})
	serve(w, "/voice.wav", wav(t, 1.5)) // 48 KB
	w.Mux.HandleFunc("/late.png", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	voice := "http://good.example:" + w.Plain + "/voice.wav?s=" + secret
	for want, input := range map[string]string{
		"":                 `{"prompt": "p", "audio": "` + voice + `"}`,
		CodeSourceTooLarge: `{"prompt": "p", "audio": "` + voice + `", "images": ["` + voice + `", "` + voice + `"]}`,
		fetch.CodeTimeout:  `{` + valid + `"images": ["http://good.example:` + w.Plain + `/late.png"]}`,
	} {
		_, err := b.handle(t, input)
		if want == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		got := FailureOf(err)
		found := false
		for _, d := range got.Output.Error.Detail {
			found = found || d.Code == want && (strings.Contains(d.Message, "in all") || strings.Contains(d.Message, "all downloads"))
		}
		if !found || strings.Contains(got.Error, secret) {
			t.Errorf("%+v, want %s for all downloads", got, want)
		}
	}
}

// TestCollectPanics: a panic while a source is fetched reaches Handle, which survives it, and not the process.
func TestCollectPanics(t *testing.T) {
	b := newBench(t)
	defer func() {
		if r := recover(); !strings.Contains(fmt.Sprint(r), "nil pointer") || !strings.Contains(fmt.Sprint(r), "collect.go") {
			t.Errorf("recovered %v, want the panic and where it was", r)
		}
	}()
	b.collect(t.Context(), []*input{nil})
	t.Error("no panic")
}

func TestHandleCancelledDownload(t *testing.T) {
	b, w := newWebBench(t, fetch.Config{})
	arrived := make(chan struct{})
	w.Mux.HandleFunc("/late.wav", func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	_, err := b.Handle(ctx, Job{ID: "j", Input: json.RawMessage(`{"prompt": "p", "audio": "http://good.example:` + w.Plain + `/late.wav"}`)}, &b.progressed)
	if !errors.Is(err, context.Canceled) || FailureOf(err).Output.Error.Code != CodeCancelled {
		t.Errorf("error %v, want the cancellation", err)
	}
	if jobs, _ := filepath.Glob(filepath.Join(b.tmp, "*", "job-*")); len(jobs) > 0 {
		t.Errorf("the job left temporary files: %q", jobs)
	}
}

// bomb is a PNG of a few KB that decodes to 50000 x 50000 white pixels.
func bomb() []byte {
	const side = 50_000
	var pixels bytes.Buffer
	z, _ := zlib.NewWriterLevel(&pixels, zlib.BestSpeed)
	row := append([]byte{0}, bytes.Repeat([]byte{0xff}, side/8)...) // one bit each
	for range side {
		z.Write(row) //nolint:errcheck // to memory
	}
	z.Close() //nolint:errcheck // to memory
	data := []byte("\x89PNG\r\n\x1a\n")
	chunk := func(kind string, content []byte) {
		data = binary.BigEndian.AppendUint32(data, uint32(len(content)))
		start := len(data)
		data = append(append(data, kind...), content...)
		data = binary.BigEndian.AppendUint32(data, crc32.ChecksumIEEE(data[start:]))
	}
	header := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, side), side)
	chunk("IHDR", append(header, 1, 0, 0, 0, 0))
	chunk("IDAT", pixels.Bytes())
	chunk("IEND", nil)
	return data
}

// silence is a FLAC file of some 100 KB that lasts three hours.
func silence(t *testing.T) []byte {
	t.Helper()
	data, err := exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono",
		"-t", "10800", "-frame_size", "65535", "-f", "flac", "pipe:1").Output()
	if err != nil {
		t.Fatal(err)
	}
	return data
}
