package cli

import (
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"strings"

	"github.com/caarlos0/env/v11"

	"github.com/humo-worker/humo-worker/handler"
	"github.com/humo-worker/humo-worker/handler/runpod"
)

// setting is a variable in effect.
type setting struct {
	Name   string `json:"name"`
	Value  string `json:"value"` // *** if it is a secret
	Origin string `json:"origin"`
}

// settings lists the variables that are set or have a default, and checks them.
func (r *report) settings(a *App, s Settings, err error) {
	const group = "checks of settings"
	for _, p := range handler.ProblemsOf(err) { // what could not be read
		r.add(group, failed, "environment", p.Error(), "")
	}
	queue, queueErr := runpod.ReadConfig(a.Environ)
	for _, err := range []error{s.Jobs.Validate(), s.Inference.Validate(), s.Output.Validate(), queueErr} {
		for _, p := range handler.ProblemsOf(err) {
			r.add(group, failed, "environment", p.Error(), "")
		}
	}
	if r.OK {
		r.add(group, passed, "environment", "every variable that is set can be used", "")
	}
	given := env.ToMap(a.Environ)
	seen := map[string]bool{}
	collect := func(name string, v reflect.Value) {
		if seen[name] {
			return
		}
		seen[name] = true
		item := setting{Name: name, Origin: "default"}
		if given[name] != "" {
			item.Origin = "environment"
		} else if v.IsZero() {
			return
		}
		item.Value = shown(name, v)
		r.Settings = append(r.Settings, item)
	}
	walk(reflect.ValueOf(s), collect)
	walk(reflect.ValueOf(queue), func(name string, v reflect.Value) {
		if s.Queue.GetJob != "" || given[name] != "" { // elsewhere its defaults mean nothing
			collect(name, v)
		}
	})
	if job, err := s.Jobs.DefaultJob(); err == nil && s.Jobs.File != "" {
		r.Settings = append(r.Settings, setting{"defaults of jobs", fmt.Sprintf("%s, %d frames of %dx%d, %d steps", job.Variant, job.Frames, job.Width, job.Height, job.Steps), s.Jobs.File})
	}
}

// walk gives every field with a variable to f.
func walk(v reflect.Value, f func(name string, v reflect.Value)) {
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return
	}
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("env"), ",")
		switch {
		case name == "-":
		case name != "":
			f(name, v.Field(i))
		case v.Field(i).Kind() == reflect.Struct:
			walk(v.Field(i), f)
		}
	}
}

var secretName = regexp.MustCompile(`KEY|SECRET|TOKEN|PASSWORD|CREDENTIAL`)

// shown is a value without what is secret in it.
func shown(name string, v reflect.Value) string {
	if secretName.MatchString(name) {
		return "***"
	}
	return harmless(fmt.Sprint(v.Interface()))
}

// harmless is a text in which an address has lost its user, its query, and of RunPod's its path, which holds the worker's id.
func harmless(text string) string {
	if !strings.Contains(text, "://") {
		return text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return "***"
	}
	shown := u.Scheme + "://" + u.Host
	if u.Path != "" && u.Path != "/" {
		shown += "/…"
	}
	return shown
}
