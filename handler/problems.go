package handler

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// The codes of what can be wrong with a job before a model is asked. Decoders and the engine add theirs.
const (
	CodeInvalidInput      = "invalid_input"      // several problems of the input, with different codes
	CodeInvalidJSON       = "invalid_json"       // the input is no JSON object
	CodeUnknownField      = "unknown_field"      //
	CodeDuplicateField    = "duplicate_field"    // given twice, or under two of its names
	CodeWrongType         = "wrong_type"         //
	CodeMissingField      = "missing_field"      //
	CodeUnknownValue      = "unknown_value"      // not one of a field's few values
	CodeOutOfRange        = "out_of_range"       //
	CodeInvalidSize       = "invalid_size"       // width or height: range, or no multiple of 16
	CodeImagesMissing     = "images_missing"     // mode TIA without images
	CodeImagesUnexpected  = "images_unexpected"  // images with mode TA
	CodeSourceUnsupported = "source_unsupported" // a volume: path, and the endpoint has no input root
	CodeInvalidURL        = "invalid_url"        // of output.upload_url
	CodeDestination       = "destination"        // a place for the result that this endpoint does not write to
	CodeTooLong           = "too_long"           // would take more time than the job has
	CodeInvalidSource     = "invalid_source"     // a source that cannot be read: bad base64, a path outside of the root
	CodeSourceNotFound    = "source_not_found"   //
	CodeSourceTooLarge    = "source_too_large"   //
	CodeCancelled         = "cancelled"          //
	CodeInternal          = "internal"           //
)

// Problems is everything that is wrong with a job, in the order of the contract's fields. It is never empty.
type Problems []*fault.Error

// maxProblems bounds an answer: a hostile job may hold thousands.
const maxProblems = 32

func (p Problems) Error() string {
	if len(p) == 1 {
		return sentence(p[0])
	}
	all := make([]string, 0, len(p))
	for _, problem := range p {
		all = append(all, sentence(problem))
	}
	if len(all) > maxProblems {
		all = append(all[:maxProblems], fmt.Sprintf("and %d more", len(p)-maxProblems))
	}
	return fmt.Sprintf("%d problems: %s", len(p), strings.Join(all, " | "))
}

// Unwrap gives the single problems, for errors.Is and errors.As.
func (p Problems) Unwrap() []error {
	errs := make([]error, len(p))
	for i, problem := range p {
		errs[i] = problem
	}
	return errs
}

// sentence is what the caller of the job may read: never the cause, which may hold paths and content.
func sentence(e *fault.Error) string {
	if e.Field == "" {
		return e.Message
	}
	return e.Field + ": " + e.Message
}

// Failure is the body of a failed job: a plain sentence, which RunPod requires to be a string, and the same for
// programs.
type Failure struct {
	Error  string        `json:"error"`
	Output FailureOutput `json:"output"`
}

// FailureOutput holds the machine-readable error where clients look for a result.
type FailureOutput struct {
	Error FailureError `json:"error"`
}

// FailureError is an error for programs. Detail lists every problem, also when there is only one.
type FailureError struct {
	Code      string          `json:"code"`
	Field     string          `json:"field,omitempty"`
	Retryable bool            `json:"retryable"`
	Detail    []FailureDetail `json:"detail,omitempty"`
}

// FailureDetail is one problem; Message names the limit and the cure.
type FailureDetail struct {
	Code    string `json:"code"`
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
}

// FailureOf describes an error of Handle to the caller of the job. Errors that no room made for readers are described
// as internal, without their text.
func FailureOf(err error) Failure {
	problems := ProblemsOf(err)
	_, ofInput := errors.AsType[Problems](err)
	first := problems[0]
	failure := Failure{Error: problems.Error()}
	out := &failure.Output.Error
	out.Code, out.Field, out.Retryable = first.Code, first.Field, true
	for i, problem := range problems {
		out.Retryable = out.Retryable && problem.Retryable
		if ofInput && problem.Code != first.Code {
			out.Code = CodeInvalidInput
		}
		if i < maxProblems {
			out.Detail = append(out.Detail, FailureDetail{problem.Code, problem.Field, sentence(problem)})
		}
	}
	return failure
}

// ProblemsOf gives an error as what its reader can act on. It is empty for no error only.
func ProblemsOf(err error) Problems {
	if err == nil {
		return nil
	}
	if problems := faults(err); len(problems) > 0 {
		return problems
	}
	if errors.Is(err, context.Canceled) {
		return Problems{fault.New(CodeCancelled, "", "The job was cancelled.").Again()}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return Problems{fault.New(CodeCancelled, "", "The job ran out of time.").Again()}
	}
	if unwritable(err) {
		return Problems{fault.New(codeTmp, fieldTmp, "No temporary files can be written; see whether the disk is full.").Again().Because(err)}
	}
	return Problems{fault.New(CodeInternal, "", "The job failed inside the worker; its log has the cause.").Again().Because(err)}
}

// unwritable tells an error of the disk under the job's folder. That of a store has its own words.
func unwritable(err error) bool {
	for _, cause := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

// faults collects the outermost faults of an error, through errors.Join.
func faults(err error) Problems {
	switch e := err.(type) { //nolint:errorlint // the tree is walked by hand, to find all
	case nil:
		return nil
	case *fault.Error:
		return Problems{e}
	case interface{ Unwrap() []error }:
		var all Problems
		for _, part := range e.Unwrap() {
			all = append(all, faults(part)...)
		}
		return all
	}
	return faults(errors.Unwrap(err))
}
