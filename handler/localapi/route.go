package localapi

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
)

// route is an address of the server.
type route struct {
	path    string   // with {id} where a job's or an upload's id stands
	methods []string // HEAD comes with GET
	runpod  bool     // RunPod's: there is a second and a third address, below /v2/{endpoint} and /{endpoint}
	summary string
	query   []parameter
	in      reflect.Type // of the body; nil: none, or not JSON
	out     reflect.Type // of the answer; nil: not JSON
	takes   string       // media type of a body that is not JSON
	gives   string       // media type of an answer that is not JSON
	refuses []int        // statuses other than 200 and the usual ones
	serve   func(s *Server, w http.ResponseWriter, r *http.Request, id string) error
}

// parameter is one of an address's query.
type parameter struct {
	name, doc          string
	low, high, missing int
}

var (
	both = []string{http.MethodGet, http.MethodPost}
	get  = []string{http.MethodGet}
	post = []string{http.MethodPost}
)

// table is all addresses but the page's and the store's files.
func table() []route {
	wait := func(missing int, doc string) []parameter {
		return []parameter{{"wait", doc + ", in milliseconds", minWait, maxWait, missing}}
	}
	job, ticket := reflect.TypeFor[Request](), reflect.TypeFor[Ticket]()
	status, nothing := reflect.TypeFor[Status](), reflect.TypeFor[Nothing]()
	return []route{
		{path: "/run", methods: post, runpod: true, summary: "Queue a job", in: job, out: ticket, refuses: []int{400, 409, 413, 429, 503}, serve: (*Server).runJob},
		{path: "/runsync", methods: post, runpod: true, summary: "Queue a job and wait for its end, or for the end of the wait", query: wait(syncWait, "how long to wait"), in: job, out: status,
			refuses: []int{400, 409, 413, 429, 503}, serve: (*Server).runSync},
		{path: "/status/{id}", methods: both, runpod: true, summary: "How a job gets on", out: status, refuses: []int{404}, serve: (*Server).status},
		{path: "/status-sync/{id}", methods: both, runpod: true, summary: "Wait for the end of a job, or of the wait", query: wait(syncWait, "how long to wait"), out: status,
			refuses: []int{400, 404}, serve: (*Server).statusSync},
		{path: "/stream/{id}", methods: both, runpod: true, summary: "Fetch what a job has streamed since the last time; the answer is held until there is something", query: wait(minWait, "how long to hold it"),
			out: reflect.TypeFor[Stream](), refuses: []int{400, 404}, serve: (*Server).stream},
		{path: "/cancel/{id}", methods: post, runpod: true, summary: "Stop a job; one that has ended stays as it is", out: status, refuses: []int{404}, serve: (*Server).cancel},
		{path: "/retry/{id}", methods: post, runpod: true, summary: "Run a job again that failed, ran out of time or was cancelled", out: ticket, refuses: []int{400, 404, 409, 429, 503}, serve: (*Server).retry},
		{path: "/purge-queue", methods: post, runpod: true, summary: "Cancel the jobs that wait", out: reflect.TypeFor[Purge](), serve: (*Server).purge},
		{path: "/health", methods: both, runpod: true, summary: "Count jobs and workers", out: reflect.TypeFor[Health](), serve: (*Server).health},

		{path: "/jobs", methods: get, summary: "This server's jobs, newest first", query: []parameter{{"limit", "the most to list", 1, maxJobs, 100}}, out: reflect.TypeFor[History](), refuses: []int{400}, serve: (*Server).listJobs},
		{path: "/jobs/{id}", methods: get, summary: "One job of the history", out: reflect.TypeFor[Entry](), refuses: []int{404}, serve: (*Server).oneJob},
		{path: "/events/{id}", methods: get, summary: "Follow a job: an event \"status\" with every change, an event \"chunk\" with the newest chunk of its stream", gives: "text/event-stream", refuses: []int{404, 429}, serve: (*Server).events},
		{path: "/uploads", methods: post, summary: "Send a file that jobs can name as a source", takes: "application/octet-stream", out: reflect.TypeFor[Upload](), refuses: []int{400, 413, 429, 503}, serve: (*Server).upload},
		{path: "/uploads/{id}", methods: get, summary: "An upload's bytes", gives: "application/octet-stream", refuses: []int{404}, serve: (*Server).getUpload},
		{path: "/uploads/{id}", methods: []string{http.MethodDelete}, summary: "Remove an upload that no job needs", out: nothing, refuses: []int{404, 409}, serve: (*Server).dropUpload},
		{path: "/info", methods: get, summary: "What this server is, and its limits", out: reflect.TypeFor[Info](), serve: (*Server).info},
		{path: "/schema.json", methods: get, summary: "The JSON Schema of a job's input", out: reflect.TypeFor[map[string]any](), serve: (*Server).schema},
		{path: "/openapi.json", methods: get, summary: "This description", out: reflect.TypeFor[map[string]any](), serve: (*Server).openapi},
		{path: "/ping", methods: both, summary: "Probe: the server is there", out: nothing, serve: (*Server).alive},
		{path: "/healthz", methods: both, summary: "Probe: the server is there", out: nothing, serve: (*Server).alive},
	}
}

// at is where a route is found: its first segment, with a slash if an id follows.
func (r *route) at() string {
	name, id, _ := strings.Cut(r.path[1:], "/")
	if id != "" {
		return name + "/"
	}
	return name
}

// find is the routes of a path: one for each method.
func (s *Server) find(path string) (at []route, id string) {
	segments := strings.Split(strings.Trim(path, "/"), "/")
	if at, id = s.match(segments, false); at != nil {
		return at, id
	}
	if segments[0] == "v2" && len(segments) > 2 {
		return s.match(segments[2:], true)
	}
	return s.match(segments[1:], true)
}

func (s *Server) match(segments []string, endpoint bool) (at []route, id string) {
	switch len(segments) {
	case 1:
		at = s.routes[segments[0]]
	case 2:
		at, id = s.routes[segments[0]+"/"], segments[1]
	}
	if at == nil || endpoint && !at[0].runpod {
		return nil, ""
	}
	return at, id
}

// dispatch answers a request that the guard let through.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if s.Page != nil && (path == "/" || strings.HasPrefix(path, "/page/")) {
		s.Page.ServeHTTP(w, r)
		return
	}
	if s.Files != nil && strings.HasPrefix(path, "/files/") {
		s.Files.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	at, id := s.find(path)
	if at == nil {
		s.problem(w, refuse(http.StatusNotFound, "not_found", "", "There is nothing at this address; /openapi.json lists what there is."))
		return
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	var allowed []string
	for _, one := range at {
		if !slices.Contains(one.methods, method) {
			allowed = append(allowed, one.methods...)
			continue
		}
		if err := one.serve(s, w, r, id); err != nil {
			s.problem(w, err)
		}
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	s.problem(w, refuse(http.StatusMethodNotAllowed, "method_not_allowed", "", "This address takes %s.", strings.Join(allowed, " and ")))
}
