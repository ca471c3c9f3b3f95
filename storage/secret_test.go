package storage_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caarlos0/env/v11"
	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/storage"
)

// TestSecret prints a config in every way that a careless line might.
func TestSecret(t *testing.T) {
	config := storage.S3Config{Endpoint: "https://example.com", AccessKeyID: "CANARY-ID", SecretAccessKey: "CANARY-SECRET"}
	out := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%T", "%20s"} {
		out[verb] = fmt.Sprintf(verb+verb+verb, config, config.SecretAccessKey, &config.SecretAccessKey)
	}
	data, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	out["json"] = string(data)
	if data, err = yaml.Marshal(map[string]any{"c": config.SecretAccessKey}); err != nil {
		t.Fatal(err)
	}
	out["yaml"] = string(data)
	var log bytes.Buffer
	logger := zerolog.New(&log)
	logger.Log().Interface("config", config).Any("any", &config.SecretAccessKey).Stringer("s", config.SecretAccessKey).
		Fields(map[string]any{"f": config.SecretAccessKey}).Msgf("%v", config)
	out["zerolog"] = log.String()
	for how, text := range out {
		if strings.Contains(text, "CANARY") || strings.Contains(text, fmt.Sprintf("%x", "CANARY")) || strings.Contains(text, fmt.Sprintf("%X", "CANARY")) {
			t.Errorf("%s shows the secret: %s", how, text)
		}
	}
	if !strings.Contains(out["%+v"], "SecretAccessKey:***") || !strings.Contains(out["json"], `"accessSecret":"***"`) || !strings.Contains(out["zerolog"], "***") {
		t.Errorf("no *** in %q", out)
	}
}

func TestConfigFromEnvironment(t *testing.T) {
	var got storage.S3Config
	err := env.ParseWithOptions(&got, env.Options{Environment: map[string]string{
		"BUCKET_ENDPOINT_URL": "https://e", "BUCKET_ACCESS_KEY_ID": "i", "BUCKET_SECRET_ACCESS_KEY": "s", "BUCKET_NAME": "b",
		"BUCKET_REGION": "r", "BUCKET_PREFIX": "p", "BUCKET_FORCE_PATH_STYLE": "true", "BUCKET_PRESIGN_EXPIRY": "3600",
	}})
	want := storage.S3Config{Endpoint: "https://e", AccessKeyID: "i", SecretAccessKey: "s", Bucket: "b", Region: "r", Prefix: "p", PathStyle: "true", Expiry: 3600}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("error %v (-want +got)\n%s", err, diff)
	}
}

func TestJobS3(t *testing.T) {
	client := &http.Client{}
	got, err := storage.JobS3([]byte(`{"accessId": "i", "accessSecret": "s", "bucketName": "b", "endpointUrl": "https://e", "objectPath": "p/q"}`), client)
	want := storage.S3Config{Endpoint: "https://e", AccessKeyID: "i", SecretAccessKey: "s", Bucket: "b", Prefix: "p/q", FromJob: true}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(storage.S3Config{}, "Client")); err != nil || diff != "" || got.Client != client {
		t.Errorf("error %v, the client's own %v (-want +got)\n%s", err, got.Client == client, diff)
	}
	for _, bad := range []string{`[]`, `{"accessSecret": {"CANARY": 1}}`, `{"accessSecret": CANARY}`, `"CANARY`} {
		if _, err := storage.JobS3([]byte(bad), nil); fault.CodeOf(err) != "wrong_type" || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: error %v, want wrong_type without the text", bad, err)
		}
	}
}
