package runpod

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// addresses are the queue's, filled in except for a job's id. RunPod's part of them is never parsed or re-encoded: only
// the service knows what its query means.
type addresses struct {
	take, stop, ping string // stop and ping may be empty
	output, stream   string // with $ID; stream may be empty
}

const takeSegment, batchSegment, stopSegment = "/job-take/", "/job-take-batch/", "/job-stop/"

func newAddresses(c Config, workerID string) addresses {
	id := strings.ReplaceAll(url.PathEscape(workerID), "$", "%24") // no id is a placeholder
	gpu := c.GPUName                                               // it comes escaped
	if c.GPUTypeID != "" {
		gpu = url.QueryEscape(c.GPUTypeID)
	}
	// The long names first: a replacer takes the first pair that fits.
	pairs := []string{"$RUNPOD_POD_ID", id, "${RUNPOD_POD_ID}", id, "$RUNPOD_GPU_TYPE_ID", gpu, "${RUNPOD_GPU_TYPE_ID}", gpu}
	shared := strings.NewReplacer(pairs...)
	worker := strings.NewReplacer(append(pairs, "$ID", id, "${ID}", id)...)
	a := addresses{take: worker.Replace(c.GetJob), ping: worker.Replace(c.Ping), output: shared.Replace(c.PostOutput), stream: shared.Replace(c.PostStream)}
	if strings.Contains(a.take, takeSegment) {
		a.stop = strings.Replace(a.take, takeSegment, stopSegment, 1)
	}
	return a
}

// takeURL asks for n jobs.
func (a addresses) takeURL(n int, busy bool) string {
	in := "0"
	if busy {
		in = "1"
	}
	if n > 1 && strings.Contains(a.take, takeSegment) {
		return withQuery(strings.Replace(a.take, takeSegment, batchSegment, 1), "batch_size="+strconv.Itoa(n), "job_in_progress="+in)
	}
	return withQuery(a.take, "job_in_progress="+in)
}

func (a addresses) outputURL(jobID string, stream bool) string {
	return withQuery(jobURL(a.output, jobID), "isStream="+strconv.FormatBool(stream))
}

func (a addresses) streamURL(jobID string) string {
	return withQuery(jobURL(a.stream, jobID), "isStream=false")
}

func jobURL(template, jobID string) string {
	id := url.PathEscape(jobID)
	return strings.NewReplacer("$ID", id, "${ID}", id).Replace(template)
}

// withQuery appends pairs as they are.
func withQuery(address string, pairs ...string) string {
	more := strings.Join(pairs, "&")
	switch {
	case more == "":
		return address
	case !strings.Contains(address, "?"):
		return address + "?" + more
	case strings.HasSuffix(address, "?") || strings.HasSuffix(address, "&"):
		return address + more
	}
	return address + "&" + more
}

var placeholder = regexp.MustCompile(`\$\{?[A-Za-z_]+\}?`)

// unfilled are the placeholders that nothing is known for.
func (a addresses) unfilled() []string {
	var found []string
	for _, address := range []string{a.take, a.ping, jobURL(a.output, ""), jobURL(a.stream, "")} {
		found = append(found, placeholder.FindAllString(address, -1)...)
	}
	return found
}

// withoutSecrets is an address as it may be logged: neither a password nor a query.
func withoutSecrets(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "(no address)"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
