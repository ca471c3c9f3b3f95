# make build      bin/humo-worker, ready to run (ONNX Runtime, ffmpeg and a C compiler included)
# make run        the whole way on the demo weights: a job in, an mp4 out
# make test       what every change must pass
# make test-long  the tests that take minutes
# make bench-full memory and speed at the size of the published 1.7B model
# make bench-serve 200 clients that poll the local API while a clip is made
# make lint       golangci-lint, pinned in tools.mod

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

export CGO_ENABLED := 1

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LINT    := go tool -modfile=tools.mod golangci-lint
DEMO    := .demo

.PHONY: build setup browser run test test-long lint vet format bench-full bench-serve clean

build: setup
	go build -trimpath -buildvcs=false -ldflags '-X main.version=$(VERSION)' -o bin/humo-worker .

setup:
	@scripts/setup.sh

browser:
	@scripts/setup.sh browser

# The demo weights are written once; afterwards they are only checked.
run: build
	@bin/humo-worker weights demo --dir $(DEMO)/weights
	@HUMO_WEIGHTS=$(DEMO)/weights HUMO_OUTPUT=$(DEMO)/output bin/humo-worker --test_input testinput/test_input.json
	@echo
	@echo "The video: $(CURDIR)/$(DEMO)/output/local_test/video.mp4"

# The tests come last: the output ends with go test's own lines.
test: setup browser format vet lint
	go test ./...

test-long: setup
	go test -tags long -timeout 60m ./...

lint:
	$(LINT) run

vet:
	go vet ./...

format:
	@unformatted=$$(gofmt -l .); \
	if [[ -n $$unformatted ]]; then echo "not formatted (run gofmt -w):"; echo "$$unformatted"; exit 1; fi

bench-full: build
	bin/humo-worker bench dit --size 832x480x5 --blocks 0 --repeats 1
	bin/humo-worker bench vae --size 832x480x5 --repeats 1

bench-serve: setup
	go test -run - -bench Clients -benchtime 60s ./handler/localapi

clean:
	rm -rf bin $(DEMO)
