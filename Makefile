# make build      bin/humo-worker, ready to run (ONNX Runtime, ffmpeg and a C compiler included)
# make run        the whole way on the demo weights: a job in, an mp4 out
# make test       what every change must pass
# make test-long  the tests that take minutes
# make fuzz       each fuzz target for FUZZTIME (60s), up to the first finding; FUZZ=… picks targets, FUZZJOBS=N runs N at a time
# make soak       2000 jobs of every kind through one worker: every outcome right, nothing grows; JOBS=… takes fewer
# make bench-full memory and speed at the size of the published 1.7B model
# make bench-table all measurements of docs/performance.md, and its chart; PYTHON=… has PyTorch
# make bench-check fails where it got slower than docs/performance.md says; PYTHON=… has PyTorch
# make bench-serve 200 clients that poll the local API while a clip is made
# make lint       golangci-lint, pinned in tools.mod
# make vuln       govulncheck, pinned in tools.mod; it asks Go's vulnerability database
# make sbom       bin/sbom: what the binary is made of, as CycloneDX, and the licence texts
# make licences   the table of docs/licences.md, after a change of dependencies

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

export CGO_ENABLED := 1

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
TOOL    := go tool -modfile=tools.mod
DEMO    := .demo

.PHONY: build setup browser run test test-long fuzz soak lint vet vuln sbom licences format bench-full bench-table bench-check bench-serve clean

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

FUZZTIME := 60s
FUZZ     := .

fuzz: setup
	@scripts/fuzz $(FUZZTIME) '$(FUZZ)'

JOBS := 2000

soak: build
	go run ./testinput/soak --jobs $(JOBS) --out docs

lint:
	$(TOOL) golangci-lint run

vet:
	go vet ./...

vuln:
	$(TOOL) govulncheck ./...

sbom: build
	rm -rf bin/sbom
	go run ./scripts/sbom -version $(VERSION) bin/humo-worker bin/sbom

licences:
	go run ./scripts/sbom -table docs/licences.md

format:
	@unformatted=$$(gofmt -l .); \
	if [[ -n $$unformatted ]]; then echo "not formatted (run gofmt -w):"; echo "$$unformatted"; exit 1; fi

bench-full: build
	bin/humo-worker bench dit --size 832x480x5 --blocks 0 --repeats 1
	bin/humo-worker bench vae --size 832x480x5 --repeats 1

# A Python that was not named may lack PyTorch; then nothing is compared with it.
NAMED := $(if $(PYTHON),--python $(PYTHON))

bench-table: build
	bin/humo-worker bench table --out docs $(NAMED)
	go run ./inference/bench/chart docs/performance.json docs/performance.png

bench-check: build
	bin/humo-worker bench check $(NAMED)

bench-serve: setup
	go test -run - -bench Clients -benchtime 60s ./handler/localapi

clean:
	rm -rf bin $(DEMO)
