package main

import (
	"encoding/json"
	"time"
)

// job is one job of the run, and what must become of it.
type job struct {
	id       string
	kind     string // for the counts: "TA clip", "bad: unknown_field", "cancelled: running", …
	envelope string // as the queue gives it out
	want     want
	cancel   cancel
	repeat   bool   // it is given out once more when it is done
	twice    bool   // it is given out once more while it runs
	upload   string // key of the video where the job brings its own address; empty: the result says it
}

// want is how a job must end.
type want struct {
	code   string // of the error; empty: it succeeds
	dryRun bool
	result result // of a success; zero fields are not compared
}

// result is what of a job's output is compared.
type result struct {
	Mode    string `json:"mode"`
	Variant string `json:"variant"`
	Quality string `json:"quality"`
	Frames  int    `json:"frames"`
	FPS     int    `json:"fps"`
	Width   int    `json:"width"`
	Height  int    `json:"height"`
	Seed    uint64 `json:"seed"`
}

// answer is a posted result.
type answer struct {
	Error  string `json:"error"`
	Output struct {
		result
		DryRun      bool   `json:"dry_run"`
		Key         string `json:"key"`
		VideoURL    string `json:"video_url"`
		ManifestURL string `json:"manifest_url"`
		Estimate    *struct {
			Passes int `json:"passes"`
		} `json:"estimate"`
		Error struct {
			Code string `json:"code"`
		} `json:"error"`
	} `json:"output"`
}

// cancel says when a job is cancelled. The zero value: never.
type cancel struct {
	when  moment
	after time.Duration // from the moment
	part  float64       // of late: after this part of what clips usually take
}

type moment string

const (
	queued  moment = "queued"  // before a worker has it, or just then
	running moment = "running" // while it computes: it would take long
	late    moment = "late"    // around the time when it is done anyway
)

// input is a job's input, or its envelope.
type input map[string]any

func (in input) text() string {
	data, err := json.Marshal(in)
	if err != nil { // maps, lists, texts and numbers always encode
		panic(err)
	}
	return string(data)
}
