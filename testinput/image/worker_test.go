package image_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/humo-worker/humo-worker/handler/cli"
	"github.com/humo-worker/humo-worker/handler/runpod/runpodtest"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// program is the name under which this test's own binary is the worker.
const program = "humo-worker"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == program {
		os.Exit(cli.Main("test"))
	}
	os.Exit(m.Run())
}

// installed lays out what the image has, where everybody can read it: the program, ONNX Runtime, demo weights, the sample job.
type installed struct{ dir string }

func install(t *testing.T) installed {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // closed to other users
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	library := os.Getenv("ONNXRUNTIME_LIB")
	if library == "" {
		library = ort.DefaultLibrary()
	}
	files := map[string]string{program: self, "libonnxruntime.so.1": library, "voice.wav": top + "/testinput/voice.wav"}
	for name, source := range files {
		data, err := os.ReadFile(source)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := weights.WriteDemo(filepath.Join(dir, "demo")); err != nil {
		t.Fatal(err)
	}
	open := exec.Command("chmod", "-R", "a+rX", dir)
	if out, err := open.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return installed{dir}
}

// environ is the image's, and nothing of this machine's but its PATH.
func (i installed) environ() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/", "HUMO_OUTPUT=/tmp/output",
		"ONNXRUNTIME_LIB=" + filepath.Join(i.dir, "libonnxruntime.so.1"),
		"HUMO_WEIGHTS=" + filepath.Join(i.dir, "demo"), "HUMO_INPUT_ROOT=" + i.dir,
		"RUNPOD_SKIP_AUTO_SYSTEM_CHECKS=true", // the machine of a test may be smaller than a worker's
	}
}

// lines collects a process's output.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func start(t *testing.T, cmd *exec.Cmd) *lines {
	t.Helper()
	out := &lines{}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = out, out, time.Second
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true // sh may stay between this test and the worker
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) //nolint:errcheck // there is nobody left, unless the test has failed
		if cmd.ProcessState == nil {
			cmd.Wait() //nolint:errcheck // it was killed
		}
	})
	return out
}

// Check 63: docker stop ends an idle worker in less than two seconds. The worker is process 1 of a namespace, as in a
// container, where a signal that it does not handle would be dropped. It runs as a user without a name and a home, on a root
// that cannot be written to, with /tmp alone to write in.
func TestCheck63_StopsAsProcess1(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a process namespace, a read-only root and another user need root")
	}
	const user = 12345
	image, queue := install(t), runpodtest.Start(t)
	// The folder is under /tmp, which the new /tmp would hide: it is seen under /mnt instead.
	const inside = "/mnt"
	script := `set -e
mount --bind "$0" ` + inside + `
mount -o remount,bind,ro ` + inside + `
mount -o remount,bind,ro / 2>/dev/null || { mount --bind / / && mount -o remount,bind,ro /; }
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t proc proc /proc
cd /
exec setpriv --reuid $1 --regid $1 --clear-groups --no-new-privs ` + inside + `/` + program
	cmd := exec.Command("sh", "-c", script, image.dir, fmt.Sprint(user))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	for _, e := range append(image.environ(), queue.Env()...) {
		cmd.Env = append(cmd.Env, strings.ReplaceAll(e, image.dir, inside))
	}
	out := start(t, cmd)
	deadline := time.Now().Add(time.Minute)
	for !strings.Contains(out.String(), "The worker is ready.") {
		if time.Now().After(deadline) {
			t.Fatalf("the worker is not ready after a minute:\n%s", out)
		}
		time.Sleep(10 * time.Millisecond)
	}
	polls := len(queue.Requests(runpodtest.Take))
	queue.Await(t, runpodtest.Take, polls+1) // idle, and a poll is open

	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Name:\t" + program, fmt.Sprintf("Uid:\t%d\t%d", user, user), "\t1\n"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("the process has no %q:\n%s", want, status)
		}
	}
	told := time.Now()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	if took := time.Since(told); err != nil || took > 2*time.Second {
		t.Errorf("the worker ended after %v with %v:\n%s", took, err, out)
	}
	if !strings.Contains(out.String(), "The worker has ended.") {
		t.Errorf("the log ends otherwise:\n%s", out)
	}
}

// RunPod's Hub runs the image's command through sh with the environment of hub.json and tests.json and the addresses of its
// own queue: no key, no heartbeat, no stream. Its tests pass, and the worker stays.
func TestHubTests(t *testing.T) {
	var h hub
	strict(t, ".runpod/hub.json", &h)
	var file tests
	strict(t, ".runpod/tests.json", &file)
	if len(file.Tests) == 0 || file.Config.RunsOn != "GPU" || file.Config.GPUCount != 1 || file.Config.GPUTypeID == "" {
		t.Fatalf("tests.json: %+v", file)
	}
	image, queue := install(t), runpodtest.Start(t)
	queue.Open = true
	base := queue.URL + "/v2/IDE"
	cmd := exec.Command("sh", "-c", `"$0"`, filepath.Join(image.dir, program))
	cmd.Dir = "/"
	cmd.Env = append(h.defaults(), image.environ()...)
	const ours = "/usr/share/humo-worker/"
	places := map[string]string{ours + "demo": filepath.Join(image.dir, "demo"), ours + "testinput": image.dir}
	for _, e := range file.Config.Env {
		value, ok := places[e.Value]
		if !ok {
			t.Fatalf("tests.json sets %s to %s, which is no place in the image", e.Key, e.Value)
		}
		cmd.Env = append(cmd.Env, e.Key+"="+value)
	}
	cmd.Env = append(cmd.Env, "HUMO_OUTPUT="+t.TempDir(), "HUMO_TMP="+t.TempDir(), "WORKER_STATE_DIR="+t.TempDir(),
		"RUNPOD_TEST=true", "RUNPOD_LOG_LEVEL=INFO", "RUNPOD_ENDPOINT_BASE_URL="+base,
		"RUNPOD_WEBHOOK_GET_JOB="+base+"/job-take/$RUNPOD_POD_ID",
		"RUNPOD_WEBHOOK_POST_OUTPUT="+base+"/job-done/$RUNPOD_POD_ID/$ID?gpu=$RUNPOD_GPU_TYPE_ID")
	out := start(t, cmd)
	for i, test := range file.Tests {
		input, err := json.Marshal(test.Input)
		if err != nil {
			t.Fatal(err)
		}
		id := fmt.Sprint(i)
		queue.Give(id, string(input))
		var answer struct {
			Error  any
			Output struct {
				Mode   string
				Frames int
			}
		}
		if err := json.Unmarshal([]byte(queue.AwaitResult(t, id)), &answer); err != nil {
			t.Fatal(err)
		}
		if answer.Error != nil || answer.Output.Mode == "" {
			t.Errorf("the test %q ends in %s\n%s", test.Name, queue.Result(id), out)
		}
		if len(queue.Result(id)) > 10_000 || test.Timeout < 30_000 {
			t.Errorf("the test %q: an answer of %d bytes, %d ms", test.Name, len(queue.Result(id)), test.Timeout)
		}
	}
	polls := len(queue.Requests(runpodtest.Take))
	queue.Await(t, runpodtest.Take, polls+1)
	for _, line := range []string{"ERROR", "panic"} {
		if strings.Contains(out.String(), line) {
			t.Errorf("the log has a line with %s:\n%s", line, out)
		}
	}
	if cmd.Process.Signal(syscall.Signal(0)) != nil {
		t.Errorf("the worker has ended, which fails the Hub's run:\n%s", out)
	}
}
