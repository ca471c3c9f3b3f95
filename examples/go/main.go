// Command go is a client in nothing but the standard library: it sends a job, shows how it gets on, and fetches the video.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// source is a file in the form in which it goes into a job.
type source struct {
	Type string `json:"type"`
	Data []byte `json:"data"` // base64 in JSON
}

// status is the part of RunPod's answer that is read here.
type status struct {
	ID     string
	Status string
	Error  string
	Output struct {
		Stage       string // of a job in progress, and the next two
		Step, Steps int
		VideoURL    string `json:"video_url"`
	}
}

func main() {
	if len(os.Args) != 2 || os.Args[1] != "ta" && os.Args[1] != "tia" {
		fmt.Fprintln(os.Stderr, "usage: go run ./examples/go ta|tia, in the project's folder")
		os.Exit(2)
	}
	if err := run(os.Args[1] == "tia"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(withPicture bool) error {
	voice, err := read("voice.wav", "audio/wav")
	if err != nil {
		return err
	}
	input := map[string]any{
		"prompt": "A woman with brown hair and a blue jumper looks into the camera and speaks calmly, plain grey background.",
		"audio":  voice, "frames": 9, "width": 96, "height": 64, "steps": 4, "seed": 42,
	}
	if withPicture {
		picture, err := read("person.png", "image/png")
		if err != nil {
			return err
		}
		input["images"] = []source{picture}
	}
	job, err := ask("/run", map[string]any{"input": input})
	for err == nil && (job.Status == "IN_QUEUE" || job.Status == "IN_PROGRESS") {
		time.Sleep(time.Second)
		if job, err = ask("/status/"+job.ID, nil); err == nil {
			fmt.Fprintln(os.Stderr, job.ID, job.Status, job.Output.Stage, job.Output.Step, "of", job.Output.Steps)
		}
	}
	if err != nil {
		return err
	}
	if job.Status != "COMPLETED" {
		return fmt.Errorf("%s: %s", job.Status, job.Error)
	}
	return download(job.Output.VideoURL, "video.mp4")
}

func read(name, kind string) (source, error) {
	data, err := os.ReadFile(filepath.Join("testinput", name))
	return source{kind, data}, err
}

// ask sends a request to the endpoint: POST with a body, GET without.
func ask(path string, body any) (job status, err error) {
	base := cmp.Or(os.Getenv("RUNPOD_ENDPOINT_BASE_URL"), "http://localhost:8000/v2") + "/" + cmp.Or(os.Getenv("RUNPOD_ENDPOINT_ID"), "local")
	method, data := http.MethodGet, []byte(nil)
	if body != nil {
		method = http.MethodPost
		if data, err = json.Marshal(body); err != nil {
			return job, err
		}
	}
	request, err := http.NewRequest(method, base+path, bytes.NewReader(data))
	if err != nil {
		return job, err
	}
	request.Header.Set("Authorization", "Bearer "+cmp.Or(os.Getenv("RUNPOD_API_KEY"), "local"))
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return job, err
	}
	defer answer.Body.Close() //nolint:errcheck // only read from
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, text)
	}
	if err == nil {
		err = json.Unmarshal(text, &job)
	}
	return job, err
}

func download(url, path string) error {
	answer, err := http.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // only read from
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, answer.Status)
	}
	video, err := io.ReadAll(answer.Body)
	if err == nil {
		err = os.WriteFile(path, video, 0o644)
	}
	if err == nil {
		_, err = fmt.Fprintln(os.Stdout, "The video:", path)
	}
	return err
}
