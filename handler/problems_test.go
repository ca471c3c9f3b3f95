package handler

import (
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// valid is the smallest valid job's fields.
const valid = `"prompt": "p", "audio": "volume:voice.wav", `

// badInput is a job with one problem.
type badInput struct {
	input             string
	code, field, says string
}

func (c badInput) check(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%.80s: no error, want %s", c.input, c.code)
		return
	}
	got := FailureOf(err)
	if e := got.Output.Error; e.Code != c.code || e.Field != c.field || len(e.Detail) != 1 || e.Retryable {
		t.Errorf("%.80s: %+v, want one problem %s of %q", c.input, got, c.code, c.field)
	}
	if !strings.Contains(got.Error, c.says) {
		t.Errorf("%.80s: %q, want it to say %q", c.input, got.Error, c.says)
	}
}

// TestProblemsOfFields: what is wrong with one field gives one problem with a code, the field, and a message that
// holds the limit and the cure.
func TestProblemsOfFields(t *testing.T) {
	for _, c := range []badInput{
		{``, "invalid_json", "", "send an object with the fields mode, variant, prompt"},
		{`[1]`, "wrong_type", "", "JSON object"},
		{`"text"`, "wrong_type", "", "JSON object"},
		{`{"prompt": `, "invalid_json", "", "not valid JSON"},
		{`{"prompt": "p"`, "invalid_json", "", "ends too early"},
		{`{} {}`, "invalid_json", "", "goes on after"},
		{`{` + valid + `"promt": "p"}`, "unknown_field", "promt", `did you mean "prompt"?`},
		{`{` + valid + `"image_paths": []}`, "unknown_field", "image_paths", `did you mean "image_path"?`},
		{`{` + valid + `"Width": 64}`, "unknown_field", "Width", `did you mean "width"?`},
		{`{` + valid + `"zzz": 1}`, "unknown_field", "zzz", "the known ones are mode, variant"},
		{`{` + valid + `"seed": 1, "seed": 2}`, "duplicate_field", "seed", "keep one"},
		{`{` + valid + `"audio_path": "voice.wav"}`, "duplicate_field", "audio_path", `another name of "audio"`},
		{`{"audio": "volume:voice.wav"}`, "missing_field", "prompt", "describe the clip"},
		{`{"audio": "volume:voice.wav", "prompt": " \n "}`, "missing_field", "prompt", "blank"},
		{`{"audio": "volume:voice.wav", "prompt": 5}`, "wrong_type", "prompt", "must be text"},
		{`{"audio": "volume:voice.wav", "prompt": "` + strings.Repeat("é", 5001) + `"}`, "out_of_range", "prompt", "has 5001 characters; the limit is 5000: shorten"},
		{`{"prompt": "p"}`, "missing_field", "audio", "is missing"},
		{`{` + valid + `"mode": "AT"}`, "unknown_value", "mode", `is "AT"; it must be "TA" or "TIA"`},
		{`{` + valid + `"mode": 1}`, "wrong_type", "mode", `must be "TA" or "TIA"`},
		{`{` + valid + `"variant": "2B"}`, "unknown_value", "variant", `"1.7B" or "17B"`},
		{`{` + valid + `"mode": "TIA"}`, "images_missing", "images", "needs 1 to 8 reference pictures and there is none; add images, or use mode TA"},
		{`{` + valid + `"mode": "TIA", "images": []}`, "images_missing", "images", "there is none"},
		{`{` + valid + `"mode": "TA", "images": ["volume:face.png"]}`, "images_unexpected", "images", "remove them, or use mode TIA"},
		{`{` + valid + `"mode": "TA", "img_paths": ["face.png"]}`, "images_unexpected", "img_paths", "remove them"},
		{`{` + valid + `"images": [` + strings.Repeat(`"volume:face.png", `, 8) + `"volume:face.png"]}`, "out_of_range", "images", "holds 9 pictures; the limit is 8"},
		{`{` + valid + `"images": ["volume:face.png", 5]}`, "wrong_type", "images[1]", "must be a source"},
		{`{` + valid + `"frames": 0}`, "out_of_range", "frames", "is 0; it must be from 1 to 1000"},
		{`{` + valid + `"frames": 1001}`, "out_of_range", "frames", "1 to 1000"},
		{`{` + valid + `"frames": 16.5}`, "wrong_type", "frames", "whole number from 1 to 1000"},
		{`{` + valid + `"frames": "97"}`, "wrong_type", "frames", `"auto" is the length of the audio`},
		{`{` + valid + `"frames": 1e999999999}`, "wrong_type", "frames", "whole number"},
		{`{` + valid + `"width": 100}`, "invalid_size", "width", "is 100, which is not a multiple of 16; use 96 or 112 (the limit is 2048)"},
		{`{` + valid + `"height": 2064}`, "invalid_size", "height", "multiple of 16 from 16 to 2048"},
		{`{` + valid + `"height": 8}`, "invalid_size", "height", "is 8"},
		{`{` + valid + `"height": -16}`, "invalid_size", "height", "is -16"},
		{`{` + valid + `"width": "832"}`, "wrong_type", "width", "whole number of pixels"},
		{`{` + valid + `"fps": 0}`, "out_of_range", "fps", "1 to 60"},
		{`{` + valid + `"steps": 0}`, "out_of_range", "steps", "1 to 250"},
		{`{` + valid + `"steps": 251}`, "out_of_range", "steps", "is 251; it must be from 1 to 250"},
		{`{` + valid + `"steps": 250, "shift": 50}`, "out_of_range", "steps", "at most"},
		{`{` + valid + `"shift": 0}`, "out_of_range", "shift", "0.1 to 100"},
		{`{` + valid + `"shift": "5"}`, "wrong_type", "shift", "number"},
		{`{` + valid + `"seed": -1}`, "out_of_range", "seed", "leave it out for a random one"},
		{`{` + valid + `"seed": 18446744073709551616}`, "out_of_range", "seed", "to 18446744073709551615"},
		{`{` + valid + `"scale_t": 101}`, "out_of_range", "scale_t", "0 to 100"},
		{`{` + valid + `"scale_a": -1}`, "out_of_range", "scale_a", "0 to 100"},
		{`{` + valid + `"scale_i": true}`, "wrong_type", "scale_i", "number"},
		{`{` + valid + `"output": {"format": "webm"}}`, "unknown_value", "output.format", `must be "mp4"`},
		{`{` + valid + `"output": {"crf": 52}}`, "out_of_range", "output.crf", "1 to 51"},
		{`{` + valid + `"output": {"crff": 18}}`, "unknown_field", "output.crff", `did you mean "crf"?`},
		{`{` + valid + `"output": "mp4"}`, "wrong_type", "output", "format, crf"},
		{`{` + valid + `"dry_run": "yes"}`, "wrong_type", "dry_run", "true or false"},
	} {
		_, problems := parse(Job{Input: []byte(c.input)}, Config{Variant: "1.7B"})
		if len(problems) == 0 {
			c.check(t, nil)
		} else {
			c.check(t, problems)
		}
	}
}

// TestProblemsOfSources: the same for what stands behind a source. The engine is never asked.
func TestProblemsOfSources(t *testing.T) {
	b := newBench(t)
	outside := filepath.Join(t.TempDir(), "secret.wav")
	plant(t, outside, wav(t, 1))
	plant(t, filepath.Join(b.root, "text.wav"), []byte("no audio at all"))
	plant(t, filepath.Join(b.root, "text.png"), []byte("no picture at all"))
	plant(t, filepath.Join(b.root, "empty.wav"), nil)
	plant(t, filepath.Join(b.root, "silent.wav"), wav(t, 0))
	plant(t, filepath.Join(b.root, "blink.wav"), wav(t, 0.05))
	plant(t, filepath.Join(b.root, "long.wav"), wav(t, 41))
	plant(t, filepath.Join(b.root, "huge.png"), hugePicture(t))
	for name, target := range map[string]string{"link.wav": outside, "up.wav": "../" + filepath.Base(filepath.Dir(outside)), "in.wav": "voice.wav"} {
		if err := os.Symlink(target, filepath.Join(b.root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(b.root, "pipe.wav"), 0o600); err != nil {
		t.Fatal(err)
	}

	for _, c := range []badInput{
		{`{"prompt": "p", "audio": "https://10.0.0.1/a.wav"}`, "source_forbidden_address", "audio", "send a URL that the whole internet can reach"},
		{`{"prompt": "p", "audio": "HTTP://127.0.0.1/a.wav"}`, "source_forbidden_address", "audio", "private, local or reserved"},
		{`{"prompt": "p", "audio_path": "https://u@example.com/a.wav"}`, "source_bad_url", "audio", "user name or password"},
		{`{"prompt": "p", "audio": "ftp://example.com/a.wav"}`, "invalid_source", "audio", "volume:"},
		{`{"prompt": "p", "audio_path": "ftp://example.com/a.wav"}`, "invalid_source", "audio_path", "volume:"},
		{`{"prompt": "p", "audio": "/etc/passwd"}`, "invalid_source", "audio", "is no source"},
		{`{"prompt": "p", "audio": "file:///etc/passwd"}`, "invalid_source", "audio", "is no source"},
		{`{"prompt": "p", "audio": ""}`, "invalid_source", "audio", "is no source"},
		{`{"prompt": "p", "audio": 5}`, "wrong_type", "audio", "must be a source"},
		{`{"prompt": "p", "audio": ["volume:voice.wav"]}`, "wrong_type", "audio", "must be a source"},
		{`{"prompt": "p", "audio": "volume:"}`, "invalid_source", "audio", "names no file"},
		{`{"prompt": "p", "audio": "volume:absent.wav"}`, "source_not_found", "audio", `no file "absent.wav"`},
		{`{"prompt": "p", "audio": "volume:../` + filepath.Base(filepath.Dir(outside)) + `/secret.wav"}`, "invalid_source", "audio", "inside the input root"},
		{`{"prompt": "p", "audio": "volume:` + outside + `"}`, "source_not_found", "audio", "no file"}, // an absolute path starts at the root
		{`{"prompt": "p", "audio": "volume:link.wav"}`, "invalid_source", "audio", "symbolic links included"},
		{`{"prompt": "p", "audio": "volume:up.wav"}`, "invalid_source", "audio", "symbolic links included"},
		{`{"prompt": "p", "audio": "volume:."}`, "invalid_source", "audio", "a folder"},
		{`{"prompt": "p", "audio": "volume:pipe.wav"}`, "invalid_source", "audio", "a pipe"},
		{`{"prompt": "p", "audio": "volume:a\u0000b"}`, "invalid_source", "audio", "names no file"},
		{`{"prompt": "p", "audio": "data:audio/wav;base64"}`, "invalid_source", "audio", "without a comma"},
		{`{"prompt": "p", "audio": "data:audio/wav;base64,!!!"}`, "invalid_source", "audio", "base64"},
		{`{"prompt": "p", "audio": {"data": "!!!"}}`, "invalid_source", "audio", "base64"},
		{`{"prompt": "p", "audio": {"type": "audio/wav"}}`, "missing_field", "audio.data", "base64"},
		{`{"prompt": "p", "audio": {"data": "` + base64.StdEncoding.EncodeToString(wav(t, 1)) + `", "typ": "audio/wav"}}`, "unknown_field", "audio.typ", `did you mean "type"?`},
		{`{` + valid + `"images": {"data": "` + strings.Repeat("A", 27_000_000) + `"}}`, "source_too_large", "images[0]", "limit of 20 MB"},

		// what the bytes are
		{`{"prompt": "p", "audio": "volume:text.wav"}`, "audio_undecodable", "audio", "Send a WAV"},
		{`{"prompt": "p", "audio": "volume:empty.wav"}`, "audio_empty", "audio", "40 ms"},
		{`{"prompt": "p", "audio": "volume:silent.wav"}`, "audio_empty", "audio", "40 ms"},
		{`{"prompt": "p", "audio": "volume:blink.wav", "fps": 5}`, "audio_too_short", "audio", "less than one frame at 5 fps"},
		{`{"prompt": "p", "audio": "volume:long.wav", "frames": "auto"}`, "audio_too_long", "audio", "the limit is 1000 frames"},
		{`{` + valid + `"images": ["volume:text.png"]}`, "image_unsupported", "images[0]", "JPEG, PNG"},
		{`{` + valid + `"images": ["volume:face.png", "volume:huge.png"]}`, "image_too_large", "images[1]", "60000x60000"},
	} {
		_, err := b.handle(t, c.input)
		c.check(t, err)
	}
	if n := len(b.engine.specs); n > 0 {
		t.Errorf("the engine was asked for %d of the bad jobs", n)
	}
	if _, err := b.handle(t, `{"prompt": "p", "audio": "volume:in.wav"}`); err != nil {
		t.Errorf("a symbolic link inside the root: %v", err)
	}
}

func TestProblemsNoInputRoot(t *testing.T) {
	b := newBench(t)
	b.config.InputRoot = ""
	_, err := b.handle(t, `{`+valid+`"steps": 1}`)
	if got := FailureOf(err); got.Output.Error.Code != CodeSourceUnsupported || !strings.Contains(got.Error, "HUMO_INPUT_ROOT") {
		t.Errorf("%+v, want %s that names HUMO_INPUT_ROOT", got, CodeSourceUnsupported)
	}
}

// TestProblemsAllAtOnce: one answer tells everything, fields and contents alike.
func TestProblemsAllAtOnce(t *testing.T) {
	b := newBench(t)
	_, err := b.handle(t, `{"mode": "TIA", "width": 100, "height": 7, "steps": 0, "frames": 0, "promt": "p", "audio": {"data": "AAAA"},
		"images": ["volume:absent.png", "https://10.0.0.1/b.png", "volume:face.png"]}`)
	got := FailureOf(err)
	var all []string
	for _, d := range got.Output.Error.Detail {
		all = append(all, d.Code+" "+d.Field)
		if !strings.Contains(got.Error, d.Message) || !strings.HasPrefix(d.Message, d.Field+": ") {
			t.Errorf("the sentence %q does not hold %q", got.Error, d.Message)
		}
	}
	want := []string{
		"unknown_field promt", "out_of_range frames", "invalid_size width", "invalid_size height", "out_of_range steps",
		"missing_field prompt", "audio_undecodable audio", "source_not_found images[0]", "source_forbidden_address images[1]",
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if code := got.Output.Error.Code; code != CodeInvalidInput {
		t.Errorf("code %s, want %s", code, CodeInvalidInput)
	}
	if !strings.HasPrefix(got.Error, "9 problems: ") {
		t.Errorf("sentence %q, want the number of problems first", got.Error)
	}
}

// TestProblemsAreBounded: a hostile job gets a short answer.
func TestProblemsAreBounded(t *testing.T) {
	b := newBench(t)
	var input strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&input, `"%s%d\u0007": 1, `, strings.Repeat("x", 1000), i)
	}
	_, err := b.handle(t, `{`+input.String()+valid+`"seed": 1}`)
	got := FailureOf(err)
	if n := len(got.Output.Error.Detail); n != maxProblems {
		t.Errorf("%d problems are listed, want %d", n, maxProblems)
	}
	if len(got.Error) > 32_000 || !strings.Contains(got.Error, "and 4968 more") || strings.Contains(got.Error, "\a") {
		t.Errorf("the sentence has %d bytes: %.200q…", len(got.Error), got.Error)
	}
}

// TestSourceForms: the ways to send bytes that senders are known to use.
func TestSourceForms(t *testing.T) {
	sound := wav(t, 1)
	standard := base64.StdEncoding.EncodeToString(sound)
	for name, source := range map[string]string{
		"object":          `{"data": "` + standard + `", "type": "audio/wav"}`,
		"object only":     `{"data": "` + standard + `"}`,
		"unpadded":        `{"data": "` + strings.TrimRight(standard, "=") + `"}`,
		"url alphabet":    `{"data": "` + base64.URLEncoding.EncodeToString(sound) + `"}`,
		"lines":           `{"data": "` + standard[:76] + `\r\n` + standard[76:] + `\n"}`,
		"data URI":        `"data:audio/wav;base64,` + standard + `"`,
		"data URI params": `"DATA:audio/wav;rate=16000;BASE64,` + standard + `"`,
		"data URI %":      `"data:;base64,` + strings.NewReplacer("+", "%2B", "/", "%2F", "=", "%3D").Replace(standard) + `"`,
		"data URI plain":  `"data:audio/wav,` + percent(sound) + `"`,
		"volume":          `"volume:voice.wav"`,
		"volume absolute": `"VOLUME:/sub/../voice.wav"`,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if err := os.Mkdir(filepath.Join(b.root, "sub"), 0o700); err != nil {
				t.Fatal(err)
			}
			if _, err := b.handle(t, `{"prompt": "p", "audio": `+source+`}`); err != nil {
				t.Error(err)
			}
		})
	}
}

func percent(data []byte) string {
	var out strings.Builder
	for _, b := range data {
		fmt.Fprintf(&out, "%%%02x", b)
	}
	return out.String()
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{` + valid + `"images": [{"data": "AA=="}], "frames": "auto", "output": {"crf": 1}}`, `{"audio": "data:,%41"}`, `[`, `{"seed": 1e5, "width": -0.0}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		request, problems := parse(Job{Input: input}, Config{Variant: "1.7B"})
		if len(problems) == 0 && (request.Width%SizeStep != 0 || request.Steps < 1 || request.Frames < 0 || request.Prompt == "" || request.Audio.kind == noSource) {
			t.Errorf("accepted %+v", request)
		}
		if len(problems) > 0 && len(FailureOf(problems).Error) > 40_000 {
			t.Errorf("an answer of %d bytes to a job of %d", len(FailureOf(problems).Error), len(input))
		}
		for _, s := range append(request.Images, request.Audio) {
			s.decode() //nolint:errcheck // must not panic
		}
	})
}

func plant(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// hugePicture is a small PNG whose header claims 60000 x 60000 pixels.
func hugePicture(t *testing.T) []byte {
	t.Helper()
	data := picture(t, 1, 1)
	copy(data[16:24], []byte{0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60})
	crc := crc32.ChecksumIEEE(data[12:29])
	copy(data[29:33], []byte{byte(crc >> 24), byte(crc >> 16), byte(crc >> 8), byte(crc)})
	return data
}

// A full or broken disk under the job's folder is nobody's audio, and another worker may do the job.
func TestUnwritableFolder(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO} {
		err := fmt.Errorf("copy: %w", &os.PathError{Op: "write", Path: "/secret/audio", Err: cause})
		got := about("audio", err)
		if got.Code != "tmp_unusable" || got.Field != "HUMO_TMP" || !got.Retryable || strings.Contains(got.Message, "secret") {
			t.Errorf("%v: %+v", cause, got)
		}
	}
	if got := about("audio", &os.PathError{Op: "read", Path: "a", Err: syscall.EACCES}); got.Code != CodeInternal || got.Field != "audio" {
		t.Errorf("another error: %+v", got)
	}
}
