package main

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"strings"
)

// bad draws a job that must be refused, and the code that it must be refused with.
func (m *mixer) bad(j *job) {
	kinds := badJobs(m.inputs)
	b := kinds[m.bads%len(kinds)] // in turn, so that a short run has many
	m.bads++
	in := m.clip(j)
	for _, aliases := range []string{"audio_path", "img_paths", "generation.frames", "generation.seed", "diffusion.timesteps.sampling.steps"} {
		delete(in, aliases)
	}
	in["audio"] = m.inputs.short
	delete(in, "images")
	delete(in, "mode")
	b.spoil(in)
	j.want = want{code: b.code}
	j.kind = "bad: " + b.code
	switch {
	case b.raw != nil:
		j.envelope = input{"id": j.id, "input": b.raw}.text()
	case b.timeout > 0:
		j.envelope = input{"id": j.id, "input": in, "policy": input{"executionTimeout": b.timeout}}.text()
	default:
		m.seal(j, in)
	}
}

// badJob spoils a good job's input.
type badJob struct {
	code    string
	spoil   func(in input)
	raw     any // an input that is no object
	timeout int // ms
}

func badJobs(files *inputs) []badJob {
	set := func(code string, fields input) badJob {
		return badJob{code: code, spoil: func(in input) {
			for name, v := range fields {
				if in[name] = v; v == nil {
					delete(in, name)
				}
			}
		}}
	}
	nothing := func(input) {}
	return []badJob{
		{code: "wrong_type", spoil: nothing, raw: []any{1, 2, 3}},
		{code: "wrong_type", spoil: nothing, raw: "a woman speaks"},
		set("wrong_type", input{"steps": "many"}),
		set("wrong_type", input{"audio": 7}),
		set("invalid_input", input{"width": 50, "widht": 64, "prompt": " "}),
		set("unknown_field", input{"widht": 64}),
		set("duplicate_field", input{"generation.width": 64}),
		set("missing_field", input{"prompt": nil}),
		set("missing_field", input{"audio": nil}),
		set("unknown_value", input{"mode": "TAI"}),
		set("unknown_value", input{"quality": "fast", "variant": "1.7B", "steps": 4, "loras": nil}),
		set("out_of_range", input{"fps": 1000}),
		set("out_of_range", input{"prompt": strings.Repeat("long ", 1200)}),
		set("prompt_too_long", input{"prompt": strings.Repeat("z ", 1200)}),
		set("invalid_size", input{"width": 50}),
		set("invalid_size", input{"height": 100_000}),
		set("images_missing", input{"mode": "TIA"}),
		set("images_unexpected", input{"mode": "TA", "images": []any{"volume:person.png"}}),
		set("invalid_url", input{"output": input{"upload_url": "ftp://example.com/video.mp4"}}),
		set("invalid_source", input{"audio": "data:audio/wav;base64,%%%"}),
		set("invalid_source", input{"audio": "volume:../../../etc/passwd"}),
		set("source_not_found", input{"audio": "volume:nothing.wav"}),
		set("source_http_status", input{"audio": files.url + "/nothing.wav"}),
		set("source_redirects", input{"audio": files.url + "/round"}),
		set("source_unreachable", input{"audio": "http://127.0.0.1:9/voice.wav"}),
		set("source_forbidden_address", input{"audio": "http://169.254.169.254/latest/meta-data"}),
		set("audio_undecodable", input{"audio": "data:audio/wav;base64," + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("no sound ", 200)))}),
		set("audio_undecodable", input{"audio": "volume:person.png"}),
		set("audio_empty", input{"audio": input{"data": "", "type": "audio/wav"}}),
		set("image_too_large", input{"images": []any{input{"data": base64.StdEncoding.EncodeToString(hugePicture())}}}),
		set("image_unsupported", input{"images": []any{"volume:person.png", "volume:voice.wav"}}),
		set("lora_not_found", input{"loras": []any{input{"name": "nothing.safetensors"}}}),
		{code: "too_long", timeout: 60_000, spoil: func(in input) {
			in["frames"], in["width"], in["height"], in["steps"], in["quality"] = 997, 832, 480, 250, "exact"
			delete(in, "fps")
		}},
	}
}

// hugePicture is a PNG whose header promises 60000 x 60000 pixels.
func hugePicture() []byte {
	header := binary.BigEndian.AppendUint32([]byte("IHDR"), 60_000)
	header = append(binary.BigEndian.AppendUint32(header, 60_000), 8, 2, 0, 0, 0)
	file := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), header...)
	return append(binary.BigEndian.AppendUint32(file, crc32.ChecksumIEEE(header)), make([]byte, 64)...)
}
