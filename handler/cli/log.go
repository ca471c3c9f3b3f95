package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"github.com/rs/zerolog"
)

// newLogger logs to out in the form of RunPod's worker: LEVEL  | job | message key=value.
func newLogger(out io.Writer, level zerolog.Level) zerolog.Logger {
	return zerolog.New(&lineWriter{out: out}).Level(level)
}

// lineWriter turns zerolog's JSON into a line for people, written at once.
type lineWriter struct {
	mu  sync.Mutex
	out io.Writer
}

func (w *lineWriter) Write(event []byte) (int, error) {
	line, err := formatEvent(event)
	if err != nil {
		return 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.out.Write(line); err != nil {
		return 0, err
	}
	return len(event), nil
}

var levelNames = map[string]string{"trace": "TRACE", "debug": "DEBUG", "info": "INFO", "warn": "WARN"}

func formatEvent(event []byte) ([]byte, error) {
	in := json.NewDecoder(bytes.NewReader(event))
	in.UseNumber()
	if _, err := in.Token(); err != nil {
		return nil, err
	}
	var level, job, message string
	var rest bytes.Buffer
	for in.More() {
		key, err := in.Token()
		if err != nil {
			return nil, err
		}
		var raw json.RawMessage
		if err := in.Decode(&raw); err != nil {
			return nil, err
		}
		switch text := plain(raw); key {
		case zerolog.LevelFieldName:
			level = text
		case zerolog.MessageFieldName:
			message = text
		case "job":
			job = text
		default:
			fmt.Fprintf(&rest, " %s=%s", key, quoted(raw, text))
		}
	}
	name, ok := levelNames[level]
	if !ok {
		name = "ERROR"
	}
	if job != "" {
		job += " | "
	}
	return fmt.Appendf(nil, "%-7s| %s%s%s\n", name, job, message, rest.Bytes()), nil
}

// plain is a string's content, and the JSON of anything else.
func plain(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// quoted keeps the quotes of a string that would not read as one word.
func quoted(raw json.RawMessage, text string) string {
	if text == "" || bytes.ContainsAny(raw, " =\\") {
		return string(raw)
	}
	return text
}
