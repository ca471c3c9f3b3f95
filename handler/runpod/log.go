package runpod

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/rs/zerolog"
)

// Log logs in RunPod's form and hides secrets. The field "job" of an event becomes the line's job id.
type Log struct {
	zerolog.Logger
	Redactor *Redactor
}

// NewLog logs to out: a line of JSON per event on an endpoint, and LEVEL  | job | message elsewhere. environ is the
// environment whose secrets never show.
func NewLog(out io.Writer, c Config, environ []string) *Log {
	level, _ := c.Level()
	redactor := NewRedactor(c, environ)
	w := &lineWriter{out: out, json: c.EndpointID != "", redact: redactor}
	return &Log{Logger: zerolog.New(w).Level(level), Redactor: redactor}
}

const (
	jobKey   = "job"
	batchKey = "batchId"
)

// lineWriter turns zerolog's JSON into RunPod's lines, one Write each.
type lineWriter struct {
	mu     sync.Mutex
	out    io.Writer
	json   bool
	redact *Redactor
}

func (w *lineWriter) Write(event []byte) (int, error) {
	l, err := readLine(event)
	if err != nil {
		return 0, err
	}
	l.message = truncate(w.redact.Text(l.message))
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.out.Write(l.format(w.json)); err != nil {
		return 0, err
	}
	return len(event), nil
}

type line struct{ level, job, message string }

var levelNames = map[string]string{"trace": "TRACE", "debug": "DEBUG", "info": "INFO", "warn": "WARN"}

// readLine puts an event's further fields behind its message.
func readLine(event []byte) (line, error) {
	in := json.NewDecoder(bytes.NewReader(event))
	in.UseNumber()
	if _, err := in.Token(); err != nil {
		return line{}, err
	}
	l := line{level: "ERROR"}
	var prefix string
	var rest strings.Builder
	for in.More() {
		key, err := in.Token()
		if err != nil {
			return line{}, err
		}
		var raw json.RawMessage
		if err := in.Decode(&raw); err != nil {
			return line{}, err
		}
		text := string(raw)
		json.Unmarshal(raw, &text) //nolint:errcheck // anything but a text stays as it is
		switch key {
		case zerolog.LevelFieldName:
			if name, ok := levelNames[text]; ok {
				l.level = name
			}
		case zerolog.MessageFieldName:
			l.message = text
		case jobKey:
			l.job = text
		case batchKey:
			prefix = "[batchId=" + text + "] "
		default:
			if text == "" || bytes.ContainsAny(raw, " =\\") {
				text = string(raw)
			}
			fmt.Fprintf(&rest, " %s=%s", key, text)
		}
	}
	l.message = prefix + l.message + rest.String()
	return l, nil
}

func (l line) format(asJSON bool) []byte {
	if asJSON {
		record := struct {
			RequestID *string `json:"requestId"`
			Message   string  `json:"message"`
			Level     string  `json:"level"`
		}{nil, l.message, l.level}
		if l.job != "" {
			record.RequestID = &l.job
		}
		raw, _ := Encode(record) // texts only
		return append(raw, '\n')
	}
	job := l.job
	if job != "" {
		job += " | "
	}
	return fmt.Appendf(nil, "%-7s| %s%s\n", l.level, job, l.message)
}

// maxMessage is in characters.
const maxMessage = 4096

// truncate cuts the middle out of a long message.
func truncate(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	runes := []rune(s)
	cut := len(runes) - maxMessage
	if cut <= 0 {
		return s
	}
	return fmt.Sprintf("%s\n...TRUNCATED %d CHARACTERS...\n%s", string(runes[:maxMessage/2]), cut, string(runes[len(runes)-maxMessage/2:]))
}
