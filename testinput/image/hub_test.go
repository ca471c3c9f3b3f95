package image_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// hidden are the settings that RunPod's Hub does not show to who deploys the worker, and why.
var hidden = map[string]string{
	"ONNXRUNTIME_LIB":         "the image sets it",
	"HUMO_OUTPUT":             "the image sets it; a worker's results go to a bucket",
	"OUTPUT_DIR":              "another name of HUMO_OUTPUT",
	"HUMO_TMP":                "the container's own temporary folder is right",
	"HUMO_MEDIA_PATIENCE":     "what stands still for a minute does not move again",
	"MODEL_CACHE_DIR":         "another name of HUMO_WEIGHTS",
	"WORKER_STATE_DIR":        "must not be on a volume; the container's temporary folder is right",
	"WORKER_RUNPOD_VERSION":   "for tests against RunPod's queue",
	"RUNPOD_DEBUG_LEVEL":      "another name of RUNPOD_LOG_LEVEL",
	"RUNPOD_REALTIME_PORT":    "not served",
	"RUNPOD_MIN_CUDA_VERSION": "the image sets it to its own CUDA",

	"RUNPOD_ALLOW_PRIVATE_DOWNLOAD_URLS": "opens the endpoint's network to whoever sends jobs",
	"RUNPOD_BINARY_GPU_TEST_PATH":        "the image has no such program",
	"RUNPOD_GPU_MAX_ERROR_MESSAGES":      "belongs to that program",
	"RUNPOD_GPU_TEST_TIMEOUT":            "belongs to that program",

	"HF_ENDPOINT":  "read by weights pull, never by a worker",
	"HF_TOKEN":     "as HF_ENDPOINT",
	"HF_HOME":      "as HF_ENDPOINT",
	"HF_HUB_CACHE": "as HF_ENDPOINT",

	"RUNPOD_WEBHOOK_GET_JOB":     "RunPod sets it",
	"RUNPOD_WEBHOOK_POST_OUTPUT": "RunPod sets it",
	"RUNPOD_WEBHOOK_POST_STREAM": "RunPod sets it",
	"RUNPOD_WEBHOOK_PING":        "RunPod sets it",
	"RUNPOD_PING_INTERVAL":       "RunPod sets it",
	"RUNPOD_AI_API_KEY":          "RunPod sets it",
	"RUNPOD_POD_ID":              "RunPod sets it",
	"RUNPOD_POD_HOSTNAME":        "RunPod sets it",
	"HOSTNAME":                   "RunPod sets it",
	"RUNPOD_ENDPOINT_ID":         "RunPod sets it",
	"RUNPOD_GPU_TYPE_ID":         "RunPod sets it",
	"RUNPOD_GPU_NAME":            "RunPod sets it",
	"RUNPOD_GPU_COUNT":           "RunPod sets it",
	"RUNPOD_TEST":                "RunPod sets it",

	"LOCAL_API_KEY":   "of the API on one's own machine; a worker serves a queue",
	"LOCAL_API_URL":   "as LOCAL_API_KEY",
	"LOCAL_API_QUEUE": "as LOCAL_API_KEY",

	"CUDA_VISIBLE_DEVICES": "the platform gives a container its cards; HUMO_GPUS chooses among them",
}

// platform are variables that RunPod itself reads from an endpoint's environment.
var platform = []string{"RUNPOD_INIT_TIMEOUT"}

// hub is .runpod/hub.json, with every key that RunPod's publishing guide knows.
type hub struct {
	Title, Description, Type, Category string
	Config                             struct {
		RunsOn              string   `json:"runsOn"`
		ContainerDiskInGb   int      `json:"containerDiskInGb"`
		GPUCount            int      `json:"gpuCount"`
		GPUIDs              string   `json:"gpuIds"`
		AllowedCudaVersions []string `json:"allowedCudaVersions"`
		Presets             []struct {
			Name     string
			Defaults map[string]any
		}
		Env []variable
	}
}

type variable struct {
	Key   string
	Input struct {
		Name, Type, Description string
		Default                 any
		Required, Advanced      bool
		Min, Max                *float64
		Options                 []struct{ Label, Value string }
		TrueValue               string `json:"trueValue"`
		FalseValue              string `json:"falseValue"`
	}
}

func strict(t *testing.T, name string, into any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(read(t, name)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func TestHub(t *testing.T) {
	var h hub
	strict(t, ".runpod/hub.json", &h)
	if h.Title == "" || h.Description == "" || h.Type != "serverless" || h.Category != "video" {
		t.Errorf("hub.json is of the type %s in the category %s", h.Type, h.Category)
	}
	if h.Config.RunsOn != "GPU" || h.Config.GPUCount != 1 || h.Config.ContainerDiskInGb < 20 {
		t.Errorf("hub.json: %+v", h.Config)
	}
	// The pools whose cards ONNX Runtime has code for and that hold a transformer: B200 and 16 GB are not among them.
	pools := []string{"AMPERE_24", "ADA_24", "AMPERE_48", "ADA_48_PRO", "AMPERE_80", "ADA_80_PRO", "HOPPER_141"}
	for pool := range strings.SplitSeq(h.Config.GPUIDs, ",") {
		if !slices.Contains(pools, pool) {
			t.Errorf("hub.json: the pool %s", pool)
		}
	}
	shown := map[string]variable{}
	for _, v := range h.Config.Env {
		if _, twice := shown[v.Key]; twice {
			t.Errorf("hub.json: %s is there twice", v.Key)
		}
		shown[v.Key] = v
		checkInput(t, v)
	}
	for _, p := range h.Config.Presets {
		for key := range p.Defaults {
			if _, ok := shown[key]; !ok {
				t.Errorf("hub.json: the preset %s sets %s, which is not shown", p.Name, key)
			}
		}
	}

	documented := settings(t)
	for _, name := range documented {
		_, isShown := shown[name]
		_, isHidden := hidden[name]
		switch {
		case isShown && isHidden:
			t.Errorf("%s is in hub.json, and hidden too", name)
		case !isShown && !isHidden:
			t.Errorf("%s of docs/settings.md is not in .runpod/hub.json; if nobody there must see it, say why in hidden", name)
		}
	}
	for name := range shown {
		if !slices.Contains(documented, name) && !slices.Contains(platform, name) {
			t.Errorf("%s is in .runpod/hub.json but not in docs/settings.md", name)
		}
	}
}

// checkInput: what an input's kind needs is there, and its default is one of its values.
func checkInput(t *testing.T, v variable) {
	t.Helper()
	in := v.Input
	if in.Name == "" || in.Description == "" || in.Default == nil {
		t.Errorf("hub.json: %s lacks a name, a description or a default", v.Key)
	}
	fits := false
	switch value := in.Default.(type) {
	case string:
		fits = in.Type == "string"
		if len(in.Options) > 0 {
			fits = fits && slices.ContainsFunc(in.Options, func(o struct{ Label, Value string }) bool { return o.Value == value })
		}
	case float64:
		fits = in.Type == "number" && (in.Min == nil || value >= *in.Min) && (in.Max == nil || value <= *in.Max)
	case bool:
		fits = in.Type == "boolean" && in.TrueValue == "true" && in.FalseValue == "false"
	}
	if !fits {
		t.Errorf("hub.json: the default of %s is %v, which is no value of it", v.Key, in.Default)
	}
}

// settings lists the variables of docs/settings.md.
func settings(t *testing.T) (names []string) {
	t.Helper()
	for line := range strings.Lines(read(t, "docs/settings.md")) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			continue
		}
		for _, m := range regexp.MustCompile("`([A-Z][A-Z0-9_]+)`").FindAllStringSubmatch(cells[1], -1) {
			names = append(names, m[1])
		}
	}
	if len(names) < 60 {
		t.Fatalf("docs/settings.md has only %d variables: %v", len(names), names)
	}
	return names
}

// defaults is the environment of a worker that is deployed from the Hub without a change: every variable is set, those
// without a value to nothing.
func (h hub) defaults() (environ []string) {
	for _, v := range h.Config.Env {
		environ = append(environ, fmt.Sprintf("%s=%v", v.Key, v.Input.Default))
		if n, ok := v.Input.Default.(float64); ok {
			environ[len(environ)-1] = fmt.Sprintf("%s=%.0f", v.Key, n)
		}
	}
	return environ
}

// tests is .runpod/tests.json.
type tests struct {
	Tests []struct {
		Name    string
		Input   map[string]any
		Timeout int
	}
	Config struct {
		RunsOn              string   `json:"runsOn"`
		GPUTypeID           string   `json:"gpuTypeId"`
		GPUCount            int      `json:"gpuCount"`
		AllowedCudaVersions []string `json:"allowedCudaVersions"`
		Env                 []struct{ Key, Value string }
	}
}

// runpodctl reads these keys without asking whether they are there.
func TestRunpodTOML(t *testing.T) {
	text := read(t, "runpod.toml")
	for _, line := range []string{
		`name = "`, `uuid = "`, `base_image = "`, "gpu_types = [", "gpu_count = 1", `volume_mount_path = "/runpod-volume"`, `ports = "`,
		"container_disk_size_gb = ", "active_workers = ", "max_workers = ", "flashboot = ", "idle_timeout = ",
		`python_version = "`, `handler_path = "`, `requirements_path = "`,
	} {
		if !strings.Contains(text, "\n"+line) {
			t.Errorf("runpod.toml has no line %s", line)
		}
	}
	known := settings(t)
	for _, m := range regexp.MustCompile(`(?m)^([A-Z_]+) = "`).FindAllStringSubmatch(text, -1) {
		if !slices.Contains(known, m[1]) {
			t.Errorf("runpod.toml sets %s, which docs/settings.md does not know", m[1])
		}
	}
}
