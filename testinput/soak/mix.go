package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// The shares of the mix, of all jobs.
const (
	badShare    = 0.12
	cancelShare = 0.08
	dryShare    = 0.06
	repeatShare = 0.03 // of the clips; and as many again
	freshShare  = 0.3  // of the clips, once the prompt cache is full
)

// cacheTexts is how many texts of the longest kind fill the worker's prompt cache in memory (64 MiB) with the demo's text
// encoder (512 tokens of 64 numbers). Until then every clip brings two, so that the cache is full early in the run.
const cacheTexts = (64 << 20) / (512 * 64 * 4)

// mixer draws the jobs of a run: the same seed, the same jobs.
type mixer struct {
	r       *rand.Rand
	inputs  *inputs
	presign func(key string) string
	s3      input // a job's own bucket: the same as the worker's
	long    bool  // the prompt cache is to be full soon
	fresh   int
	fullAt  int // jobs until the cache was full
	n       int
	bads    int
}

// next draws a job.
func (m *mixer) next() *job {
	m.n++
	j := &job{id: fmt.Sprintf("soak-%05d", m.n)}
	switch at := m.r.Float64(); {
	case at < badShare:
		m.bad(j)
		return j
	case at < badShare+cancelShare:
		m.cancelled(j)
	case at < badShare+cancelShare+dryShare:
		in := m.clip(j)
		in["dry_run"] = true
		j.kind, j.want.dryRun = "dry run", true
		m.seal(j, in)
	default:
		in := m.clip(j)
		m.output(j, in)
		switch at := m.r.Float64(); {
		case at < repeatShare:
			j.repeat = true
			j.kind += ", given out again when done"
		case at < 2*repeatShare:
			j.twice = true
			j.kind += ", given out again while it runs"
		}
	}
	return j
}

// clip draws the input of a clip that succeeds.
func (m *mixer) clip(j *job) input {
	sizes := [][2]int{{32, 32}, {48, 32}, {32, 48}, {64, 48}, {48, 64}, {64, 64}, {80, 48}}
	size := sizes[m.r.IntN(len(sizes))]
	frames, fps := []int{1, 5, 5, 5, 9}[m.r.IntN(5)], []int{25, 25, 25, 12, 24, 30, 50}[m.r.IntN(7)]
	w := result{Mode: "TA", Variant: "1.7B", Quality: "exact", Frames: frames, FPS: fps, Width: size[0], Height: size[1], Seed: m.r.Uint64() >> 11}
	in := input{"audio": m.inputs.voice(m.r), "frames": frames, "fps": fps, "width": size[0], "height": size[1],
		"steps": 1 + m.r.IntN(4), "seed": w.Seed}
	m.prompts(in)
	if m.r.Float64() < 0.4 {
		w.Variant = "17B"
		in["variant"] = "17B"
	}
	if m.r.Float64() < 0.5 {
		w.Mode = "TIA"
		pictures := []any{}
		for range 1 + m.r.IntN(3) {
			pictures = append(pictures, m.inputs.picture(m.r))
		}
		in["images"] = pictures
	}
	switch at := m.r.Float64(); {
	case at < 0.15:
		w.Quality = "balanced"
		in["quality"], in["steps"] = "balanced", 4+m.r.IntN(4)
	case at < 0.3 && w.Variant == "17B":
		w.Quality = "fast"
		in["quality"], in["steps"] = "fast", 4
	}
	if w.Quality != "fast" && m.r.Float64() < 0.1 {
		in["loras"] = []any{input{"name": loraFile(w.Variant), "strength": []float64{-0.5, 0.5, 1}[m.r.IntN(3)]}}
	}
	if m.r.Float64() < 0.06 {
		in["isolate_vocals"], in["audio"] = true, m.inputs.short
	}
	if m.r.Float64() < 0.15 {
		in["preview"] = 1 + m.r.IntN(2)
	}
	if m.r.Float64() < 0.1 {
		in["frames"], in["audio"], w.FPS = "auto", m.inputs.short, 25
		in["fps"], w.Frames = 25, shortFrames
	}
	if m.r.Float64() < 0.1 {
		original(in)
	}
	j.kind, j.want.result = w.Mode+" "+w.Variant+" "+w.Quality, w
	return in
}

// original renames fields as the original's configuration has them.
func original(in input) {
	for from, to := range map[string]string{"audio": "audio_path", "images": "img_paths", "frames": "generation.frames",
		"steps": "diffusion.timesteps.sampling.steps", "seed": "generation.seed"} {
		if v, ok := in[from]; ok && v != "auto" {
			delete(in, from)
			in[to] = v
		}
	}
}

// output draws where the result goes.
func (m *mixer) output(j *job, in input) {
	envelope := input{"id": j.id, "input": in}
	switch at := m.r.Float64(); {
	case at < 0.1:
		j.upload = j.id + "/uploaded.mp4"
		in["output"] = input{"upload_url": m.presign(j.upload), "crf": 20 + m.r.IntN(10)}
		j.kind += " to a presigned URL"
	case at < 0.18:
		envelope["s3Config"] = m.s3
		j.kind += " to the job's bucket"
	case at < 0.3:
		in["output"] = input{"expires_in": 600}
	}
	j.envelope = envelope.text()
}

func (m *mixer) seal(j *job, in input) { j.envelope = input{"id": j.id, "input": in}.text() }

// cancelled draws a clip that is cancelled some time.
func (m *mixer) cancelled(j *job) {
	in := m.clip(j)
	switch m.r.IntN(4) {
	case 0:
		j.cancel = cancel{when: queued, after: time.Duration(m.r.IntN(50)) * time.Millisecond}
	case 1, 2:
		j.cancel = cancel{when: running, after: time.Duration(m.r.IntN(1500)) * time.Millisecond}
		delete(in, "diffusion.timesteps.sampling.steps")
		in["quality"], in["steps"], j.want.result.Quality = "exact", 250, "exact"
	default:
		j.cancel = cancel{when: late, part: 0.4 + m.r.Float64()}
	}
	j.kind = "cancelled: " + string(j.cancel.when)
	m.seal(j, in)
}

var scenes = []string{"A woman speaks to the camera in the rain", "A man reads the news", "A child sings in a garden", "An old singer on a stage",
	"A teacher explains a drawing", "A portrait in soft light", "A person in a red coat", "A guitarist tells a story"}

// prompts are some of a few, or long ones that no job had before.
func (m *mixer) prompts(in input) {
	in["prompt"] = fmt.Sprintf("%s, take %d.", scenes[m.r.IntN(len(scenes))], m.r.IntN(8))
	if m.long && (m.fresh < cacheTexts+cacheTexts/4 || m.r.Float64() < freshShare) {
		for _, field := range []string{"prompt", "negative_prompt"} {
			if m.fresh++; m.fresh == cacheTexts {
				m.fullAt = m.n
			}
			in[field] = fmt.Sprintf("%d %d ", m.n, m.fresh) + strings.Repeat("a ", longWords)
		}
	}
}

// longWords are about as many as the 512 tokens that a prompt may have.
const longWords = 490
