package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/humo-worker/humo-worker/handler"
	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/gpu"
	"github.com/humo-worker/humo-worker/inference/memory"
	"github.com/humo-worker/humo-worker/inference/plan"
	"github.com/humo-worker/humo-worker/inference/sandbox"
	"github.com/humo-worker/humo-worker/inference/weights"
)

var variants = []inference.Variant{inference.Variant1B, inference.Variant17B}

// programs looks at what runs, but for ONNX Runtime, which the engine tells.
func (r *report) programs(ctx context.Context, version string) {
	const group = "programs"
	r.add(group, passed, "humo-worker", fmt.Sprintf("%s, %s, %s/%s", version, runtime.Version(), runtime.GOOS, runtime.GOARCH), "")
	for _, name := range []string{"ffmpeg", "ffprobe"} {
		text, err := firstLine(ctx, name)
		if err != nil {
			r.add(group, failed, name, err.Error(), "apt-get install ffmpeg, or put the folder of an ffmpeg into PATH")
			continue
		}
		r.add(group, passed, name, text, "")
	}
	r.confinement(ctx)
}

// firstLine asks a program for its version, in the confinement in which jobs run it.
func firstLine(ctx context.Context, name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return "", errors.New("is not installed")
	}
	c := sandbox.Command(ctx, sandbox.Policy{Memory: 1 << 30, CPU: 10 * time.Second, FileSize: 1 << 20, Patience: 10 * time.Second}, path, "-version")
	defer c.Close()
	var text bytes.Buffer
	c.Stdout = &text
	if err = c.Start(); err == nil {
		err = c.Wait()
	}
	if err != nil {
		return "", fmt.Errorf("%s does not run: %w", path, err)
	}
	line, _, _ := strings.Cut(text.String(), "\n")
	line, _, _ = strings.Cut(line, " Copyright")
	return line + ", " + path, nil
}

// confinement lets a program try to break out of what ffmpeg and the decoder of pictures run in.
func (r *report) confinement(ctx context.Context) {
	const group, name = "programs", "confinement"
	found, err := sandbox.Examine(ctx)
	if err != nil {
		r.add(group, failed, name, "no program can be run confined: "+err.Error(), "see that a temporary folder can be written, and that nothing forbids the worker to start itself")
		return
	}
	var active, open []string
	for _, c := range []struct {
		broken             bool
		confined, breaking string
	}{
		{found.Network, "no network", "the network"},
		{found.Processes, "no other processes", "other processes"},
		{found.ReadFile || found.WriteFile, "no files but its own", "the worker's files"},
		{found.Root, "none of root's rights", "root's rights"},
		{found.Memory, "memory, CPU time and file sizes bounded", "all memory"},
	} {
		if c.broken {
			open = append(open, c.breaking)
		} else {
			active = append(active, c.confined)
		}
	}
	text := "ffmpeg and the decoder of pictures have " + strings.Join(active, ", ")
	if len(open) == 0 {
		r.add(group, passed, name, text, "")
		return
	}
	for _, gap := range sandbox.Gaps() {
		text += "\n" + gap
	}
	r.add(group, noted, name, text+"\nwithin their reach: "+strings.Join(open, ", "), "run the worker on Linux 5.13 or later with Landlock and seccomp")
}

func (r *report) machine(s Settings) {
	const group = "machine"
	host := inference.Host()
	r.add(group, noted, host.Device, strings.TrimPrefix(fmt.Sprintf("%s, %d cores", host.CPU, host.Cores), ", "), "")
	r.cards(gpu.Find())
	if free, ok := memory.Available(); ok {
		r.add(group, noted, "memory", weights.Size(free)+" may be taken", "")
	}
	for _, place := range []struct{ name, dir string }{{"weights", s.Inference.Weights.Dir()}, {"temporary files", s.Jobs.TmpDir()}, {"results", s.Output.Dir()}} {
		var st unix.Statfs_t
		if dir := existing(place.dir); unix.Statfs(dir, &st) == nil {
			r.add(group, noted, "disk", fmt.Sprintf("%s free for %s, %s", weights.Size(int64(min(float64(st.Bavail)*float64(st.Bsize), 1<<62))), place.name, place.dir), "")
		}
	}
}

// cards lists the GPUs that this process may use, used or not. That there are none is no problem: the CPU computes too.
func (r *report) cards(found gpu.Found) {
	const group = "machine"
	for _, c := range found.Cards {
		text := fmt.Sprintf("%s, %s of %s free, compute capability %s, driver %s", c.Name, weights.Size(c.Free), weights.Size(c.Total), c.Capability(), c.Driver)
		cure := ""
		if !c.Runs() {
			text += "; ONNX Runtime holds no code for it"
			cure = "use a card of compute capability 7.5, 8.x, 9.0 or 12.x"
		}
		r.add(group, noted, fmt.Sprintf("GPU %d", c.Ordinal), text, cure)
	}
	if found.Reason != nil {
		r.add(group, noted, "GPUs", found.Reason.Error(), "")
	}
}

// existing is the innermost folder on the way to a path that is there.
func existing(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	for {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

// writable reports why a folder cannot be written to, now or once it is made.
func writable(dir string) error {
	there := existing(dir)
	if info, err := os.Stat(there); err != nil || !info.IsDir() {
		return fmt.Errorf("%s is no folder", there)
	}
	if err := unix.Access(there, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("%s cannot be written: %w", there, err)
	}
	return nil
}

// storage says where results go.
func (r *report) storage(s Settings) {
	const group = "storage"
	if err := writable(s.Jobs.TmpDir()); err != nil {
		r.add(group, failed, "temporary files", err.Error(), "set HUMO_TMP to a folder that may be written")
	} else {
		r.add(group, passed, "temporary files", s.Jobs.TmpDir(), "")
	}
	switch {
	case s.Bucket.Enabled():
		if err := s.Bucket.Validate(); err != nil {
			r.add(group, failed, "bucket", err.Error(), "correct the variables BUCKET_…, or unset all of them")
			return
		}
		r.add(group, passed, "bucket", fmt.Sprintf("%s (not contacted)", strings.TrimSpace(s.Bucket.Bucket+" "+harmless(s.Bucket.Endpoint))), "")
	case s.Queue.GetJob != "":
		how := failed
		if !s.Jobs.OwnBucketOnly { // jobs may bring one
			how = noted
		}
		r.add(group, how, "bucket", "there is none: only jobs that bring an s3Config or an upload_url can run, and none with HUMO_OWN_BUCKET_ONLY",
			"set BUCKET_ENDPOINT_URL, BUCKET_ACCESS_KEY_ID and BUCKET_SECRET_ACCESS_KEY")
	default:
		if err := writable(s.Output.Dir()); err != nil {
			r.add(group, failed, "folder", err.Error(), "set HUMO_OUTPUT to a folder that may be written")
			return
		}
		r.add(group, passed, "folder", s.Output.Dir(), "")
	}
}

// endpoint is the variant of a job that does not say one.
func endpoint(s Settings) inference.Variant {
	job, err := s.Jobs.DefaultJob()
	if err != nil {
		return cmp.Or(s.Jobs.Variant, inference.Variant1B)
	}
	return job.Variant
}

// weights looks at the folder of the weights. Only what the endpoint's variant lacks is a problem.
func (r *report) weights(s Settings) {
	const group = "weights"
	l := weights.Locate(s.Inference.Weights.Dir())
	kind := ""
	if l.IsDemo() {
		kind = ", the demo bundle"
	}
	r.add(group, noted, "folder", l.Root+kind, "")
	holdings := l.Holdings()
	for _, v := range variants {
		lacks := failed
		if v != endpoint(s) {
			lacks = noted
		}
		var bytes int64
		var wrong []string
		for _, h := range holdings {
			if h.File.Need != weights.Required || h.File.Variant != "" && h.File.Variant != string(v) {
				continue
			}
			bytes += h.Bytes
			if h.Problem != "" {
				wrong = append(wrong, fmt.Sprintf("%s: %s", h.File.Path, h.Problem))
			}
		}
		if _, err := l.Require(string(v)); err != nil && len(wrong) == 0 { // a shard, which is no row of its own
			wrong = append(wrong, sentence(err))
		}
		if len(wrong) > 0 {
			r.add(group, lacks, string(v), strings.Join(wrong, "\n"), l.Cure(string(v)))
			continue
		}
		r.add(group, passed, string(v), weights.Size(bytes)+", modes TA and TIA", "")
	}
	if _, err := l.Separator(string(endpoint(s))); err != nil {
		r.add(group, noted, "isolate_vocals", "its network is missing: jobs that ask for it are refused", l.Cure(string(endpoint(s))))
	} else {
		r.add(group, passed, "isolate_vocals", "can be asked for", "")
	}
}

// engine opens ONNX Runtime, and asks how clips of the variants that are there would be made.
func (r *report) engine(rooms Rooms, s Settings, log zerolog.Logger) {
	e, err := rooms.Examine(s, log)
	if err != nil {
		if fault.CodeOf(err) == "onnxruntime_missing" {
			r.add("engine", failed, "ONNX Runtime", sentence(err), "run make setup, or set ONNXRUNTIME_LIB to a libonnxruntime.so.1")
		} else {
			r.add("engine", failed, "device", handler.ProblemsOf(err)[0].Error(), "")
		}
		return
	}
	defer e.Close() //nolint:errcheck // the process ends
	version, library := e.Runtime()
	r.add("engine", passed, "ONNX Runtime", version+", "+library, "")
	m := e.Machine()
	r.add("engine", passed, "device", fmt.Sprintf("%s, by the %s provider; the transformer computes in %s", m.Device, m.Provider, m.DType), "")
	job, err := s.Jobs.DefaultJob()
	if err != nil {
		return // a finding of the settings'
	}
	for _, v := range variants {
		if _, err := weights.Locate(s.Inference.Weights.Dir()).Require(string(v)); err != nil {
			continue // a finding of the weights'
		}
		p, err := e.Plan(v, plan.Job{Width: job.Width, Height: job.Height, Frames: job.Frames})
		name := "plan " + string(v)
		switch {
		case err != nil && v == endpoint(s):
			r.add("engine", failed, name, sentence(err), "see there; jobs that ask for less may run")
		case err != nil:
			r.add("engine", noted, name, sentence(err), "")
		default:
			r.Plans[v] = p
			text := fmt.Sprintf("%d frames of %dx%d: %s", job.Frames, job.Width, job.Height, p)
			for _, stage := range p.Stages {
				text += fmt.Sprintf("\n%-8s %s", stage.Name, weights.Size(stage.Peak))
			}
			r.add("engine", passed, name, text, "")
		}
	}
}

// sentence is a fault's message without its cause, which may be long.
func sentence(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.Message
	}
	return err.Error()
}
