package localapi

import (
	"encoding/json"
	"errors"

	"github.com/humo-worker/humo-worker/handler/runpod"
)

// answer is how a run ended.
type answer struct {
	state   State
	output  json.RawMessage
	failure string
}

// answer puts what a handler returned into the words of a client.
func (s *Server) answer(result runpod.Result, err error) answer {
	if err != nil {
		return s.failed(Failed, err)
	}
	output, err := runpod.Encode(result.Output)
	switch {
	case err != nil:
		return s.failed(Failed, runpod.Fail("invalid_result", "The result cannot be written as JSON: %s.", err))
	case len(output) > maxResult:
		return s.failed(Failed, runpod.Fail("result_too_large", "The result has %d bytes of JSON, and RunPod takes %d at most: store it and answer with its address.", len(output), maxResult))
	}
	return answer{state: Completed, output: output}
}

// failed describes an error. What nobody wrote a sentence for says no more than that the log has the cause.
func (s *Server) failed(state State, err error) answer {
	f, ok := errors.AsType[runpod.Failure](err)
	if !ok {
		s.Log.Error().Err(err).Msg("The handler failed.")
		f = runpod.Fail("internal", "The job failed inside the worker; its log has the cause.")
	}
	a := answer{state: state, failure: s.Log.Redactor.Text(f.Error())}
	if raw, err := runpod.Encode(f.FailureOutput()); err == nil && len(raw) <= maxResult {
		a.output = s.Log.Redactor.JSON(raw)
	}
	return a
}
