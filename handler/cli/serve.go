package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/signal"
	"reflect"
	"strings"
	"syscall"

	"github.com/humo-worker/humo-worker/handler"
	"github.com/humo-worker/humo-worker/handler/fetch"
	"github.com/humo-worker/humo-worker/handler/localapi"
	"github.com/humo-worker/humo-worker/handler/localapi/page"
	"github.com/humo-worker/humo-worker/handler/runpod"
	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/umt5"
	"github.com/humo-worker/humo-worker/storage"
)

// serve serves RunPod's endpoint API on this machine until it is told to stop. Jobs take the queue's way; without a bucket
// their results lie in the output folder, and the server gives them out.
// level wins over the environment's log level unless it is empty.
func (a *App) serve(ctx context.Context, settings Settings, level string) error {
	config, err := runpod.ReadConfig(a.Environ)
	if err != nil {
		return err
	}
	config.LogLevel = cmp.Or(level, config.LogLevel)
	log := runpod.NewLog(a.Stdout, config, a.Environ)
	server, listeners, shut, err := a.openServer(settings, log)
	if err != nil {
		reportFailure(log.Logger, err)
		return errReported
	}
	defer shut()
	server.WorkerID = cmp.Or(config.PodID, config.PodHostname, config.Hostname, "local")
	log.Info().Msgf("The API and the page are at %s/ until SIGTERM or Ctrl-C; clients of RunPod use %s/v2 as their base.", settings.API.BaseURL(listeners[0].Addr()), settings.API.BaseURL(listeners[0].Addr()))
	defer stopAtSecondSignal(server)()
	if err := server.Serve(ctx, listeners); err != nil {
		reportFailure(log.Logger, err)
		return errReported
	}
	return nil
}

// openServer opens the addresses first: links to results begin with them.
func (a *App) openServer(settings Settings, log *runpod.Log) (server *localapi.Server, listeners []net.Listener, shut func(), err error) {
	if err := settings.validate(); err != nil {
		return nil, nil, nil, err
	}
	schema, err := handler.Schema(settings.Jobs)
	if err != nil {
		return nil, nil, nil, err
	}
	if listeners, err = localapi.Listen(settings.API); err != nil {
		return nil, nil, nil, err
	}
	defer func() {
		if err != nil {
			for _, l := range listeners {
				l.Close() //nolint:errcheck // nothing was served
			}
		}
	}()
	settings.Inference.Preload = cmp.Or(settings.Inference.Preload, inference.PreloadAuto)
	settings.Output.BaseURL, settings.Output.Secret = settings.API.BaseURL(listeners[0].Addr()), linkSecret(settings.API.Key)
	store, err := openStore(settings)
	if err != nil {
		return nil, nil, nil, err
	}
	engine := &lateEngine{open: func() (Engine, error) { return a.Rooms.OpenEngine(settings, log.Logger) }}
	jobs, shutJobs, err := a.openOn(settings, engine, store, log.Logger)
	if err != nil {
		return nil, nil, nil, err
	}
	scratch, err := handler.OpenScratch(settings.Jobs.TmpDir())
	if err != nil {
		shutJobs()
		return nil, nil, nil, err
	}
	uploads, removeUploads, err := scratch.Job()
	if err != nil {
		shutJobs()
		return nil, nil, nil, err
	}
	shut = func() {
		removeUploads()
		if err := scratch.Close(); err != nil {
			log.Warn().Err(err).Msg("The folder of uploads could not be removed.")
		}
		shutJobs()
	}
	server = &localapi.Server{
		Config: settings.API, Handler: runpodHandler(jobs, log.Logger), Version: a.Version, Log: log,
		Contract: localapi.Contract{
			Input: schema, Output: reflect.TypeFor[handler.Result](), Failure: reflect.TypeFor[handler.FailureOutput](), Chunk: reflect.TypeFor[queuePreview](),
		},
		Quick: isDryRun, Prepare: func(ctx context.Context) error { return engine.Prepare(ctx, jobs.Variant()) },
		Page: page.Handler(bucketOrigins(settings.Bucket)...), Webhooks: fetch.NewClient(settings.Jobs.Fetch).HTTP(), UploadDir: uploads,
		Endpoint: func() any { return describe(settings, jobs, engine) },
	}
	if local, ok := store.(*storage.Local); ok {
		server.Files = local.Files()
	}
	return server, listeners, shut, nil
}

// endpointInfo is what the page shows of the endpoint beside the schema, in which the defaults of the scales are not: they
// are the variant's.
type endpointInfo struct {
	Variant        inference.Variant               `json:"variant"` // of jobs that do not say
	Models         map[inference.Variant]modelInfo `json:"models"`
	NegativePrompt string                          `json:"negative_prompt"`  // of jobs without one
	Device         string                          `json:"device,omitempty"` // what computes; known once the engine is open
	LoRAs          []string                        `json:"loras,omitempty"`  // that jobs may name
}

type modelInfo struct {
	ScaleT float64 `json:"scale_t"`
	ScaleA float64 `json:"scale_a"`
	ScaleI float64 `json:"scale_i"`
}

// describe leaves out what cannot be told: a job will say why.
func describe(settings Settings, jobs *handler.Handler, engine *lateEngine) endpointInfo {
	info := endpointInfo{Variant: jobs.Variant(), Models: map[inference.Variant]modelInfo{}, NegativePrompt: umt5.DefaultNegativePrompt}
	for _, v := range []inference.Variant{inference.Variant1B, inference.Variant17B} {
		scales := jobs.ScalesOf(v)
		info.Models[v] = modelInfo{scales.Text, scales.Audio, scales.Image}
	}
	if m, open := engine.machine(); open {
		info.Device = fmt.Sprintf("%s, %s", m.Device, m.DType)
	}
	info.LoRAs, _ = settings.Inference.LoRA.Folder(settings.Inference.Weights.Dir()).Names()
	return info
}

// linkSecret lets links outlive the server when it has a key: the next one with the same key takes them.
func linkSecret(key runpod.Secret) storage.Secret {
	if key == "" {
		return ""
	}
	return storage.Secret("links of " + string(key))
}

// isDryRun tells the jobs that make no clip.
func isDryRun(input json.RawMessage) bool {
	var job struct {
		DryRun bool `json:"dry_run"`
	}
	return json.Unmarshal(input, &job) == nil && job.DryRun
}

// bucketOrigins are the origins that links to the bucket may have: the service's, and the bucket's own name on it.
func bucketOrigins(bucket storage.S3Config) []string {
	if !bucket.Enabled() {
		return nil
	}
	endpoint := bucket.Endpoint
	if !strings.Contains(endpoint, "://") {
		endpoint = "https://" + endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return nil
	}
	origins := []string{u.Scheme + "://" + u.Host}
	if bucket.Bucket != "" {
		origins = append(origins, u.Scheme+"://"+bucket.Bucket+"."+u.Host)
	}
	return origins
}

// stopAtSecondSignal ends the server at once when it is told to end a second time. The first time is Run's.
func stopAtSecondSignal(server *localapi.Server) (over func()) {
	signals, ended := make(chan os.Signal, 2), make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		for range 2 {
			select {
			case <-signals:
			case <-ended:
				return
			}
		}
		server.Stop()
	}()
	return func() {
		signal.Stop(signals)
		close(ended)
	}
}
