package runpod

import (
	"net/url"
	"strings"
	"testing"
)

const canary = "CANARY-7f3a"

// FuzzAddresses fills any ids into the templates that RunPod sets: every id comes back out of the path as it was, none adds a
// query, a fragment or a host, and nothing of the password or the query is logged.
func FuzzAddresses(f *testing.F) {
	for _, seed := range [][4]string{
		{"https://api/v2/x/job-take/$RUNPOD_POD_ID?gpu=$RUNPOD_GPU_TYPE_ID", "pod1", "NVIDIA H100", "job-u1"},
		{"https://api/job-take/${ID}", "../..", "a&b=c", "a/b?c#d"}, {"http://api/$ID$ID?", "$ID", "$RUNPOD_POD_ID", "$ID"}, {"http://api/$RUNPOD_POD_ID", "$ID", "${ID}", "job"}, {"http://api", "@h", "", "%2e%2e"}, {"http://api/$UNKNOWN?x&", "\xff", "\n", "\x00"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	f.Fuzz(func(t *testing.T, template, worker, gpu, job string) {
		// Whatever the template: filling it never lengthens it by more than the ids, and what is logged shows no query.
		fill := newAddresses(Config{GetJob: template, Ping: template, PostOutput: template, PostStream: template, GPUTypeID: gpu}, worker)
		if n := strings.Count(template, "$"); len(fill.take) > len(template)+n*3*(len(worker)+len(gpu)) || len(fill.outputURL(job, true)) > len(fill.output)+strings.Count(fill.output, "$")*3*len(job)+40 {
			t.Fatalf("%q becomes %d bytes", template, len(fill.take))
		}
		for _, shown := range []string{withoutSecrets(template), withoutSecrets("https://me:" + canary + "@h/" + url.PathEscape(template) + "?" + canary + "#" + canary)} {
			if _, query, _ := strings.Cut(shown, "?"); query != "" || strings.Contains(shown, canary) && !strings.Contains(template, canary) {
				t.Fatalf("%q is logged as %q", template, shown)
			}
		}

		const base = "https://api.example/v2/e1"
		c := Config{
			GetJob: base + "/job-take/$RUNPOD_POD_ID?gpu=$RUNPOD_GPU_TYPE_ID", Ping: base + "/ping/${RUNPOD_POD_ID}?gpu=${RUNPOD_GPU_TYPE_ID}",
			PostOutput: base + "/job-done/$RUNPOD_POD_ID/$ID?gpu=$RUNPOD_GPU_TYPE_ID", PostStream: base + "/job-stream/$RUNPOD_POD_ID/${ID}", GPUTypeID: gpu,
		}
		a := newAddresses(c, worker)
		part := func(address, within string, ids []string, query map[string]string) {
			t.Helper()
			u, err := url.Parse(address)
			if err != nil || u.Scheme != "https" || u.Host != "api.example" || u.Fragment != "" || u.User != nil {
				t.Fatalf("%q: %v", address, err)
			}
			parts := strings.Split(strings.TrimPrefix(u.EscapedPath(), "/v2/e1/"), "/")
			if len(parts) != len(ids)+1 || parts[0] != within {
				t.Fatalf("%q has the path %q", address, parts)
			}
			for i, id := range ids {
				if got, err := url.PathUnescape(parts[i+1]); err != nil || got != id {
					t.Fatalf("%q holds the id %q, %v, want %q", address, got, err, id)
				}
			}
			got, err := url.ParseQuery(u.RawQuery)
			if err != nil || len(got) != len(query) {
				t.Fatalf("%q has the query %v, %v", address, got, err)
			}
			for name, value := range query {
				if got.Get(name) != value {
					t.Fatalf("%q: %s is %q, want %q", address, name, got.Get(name), value)
				}
			}
		}
		part(a.takeURL(1, true), "job-take", []string{worker}, map[string]string{"gpu": gpu, "job_in_progress": "1"})
		part(a.takeURL(3, false), "job-take-batch", []string{worker}, map[string]string{"gpu": gpu, "job_in_progress": "0", "batch_size": "3"})
		part(a.stop, "job-stop", []string{worker}, map[string]string{"gpu": gpu})
		part(a.ping, "ping", []string{worker}, map[string]string{"gpu": gpu})
		part(a.streamURL(job), "job-stream", []string{worker, job}, map[string]string{"isStream": "false"})
		part(a.outputURL(job, true), "job-done", []string{worker, job}, map[string]string{"gpu": gpu, "isStream": "true"})
	})
}
