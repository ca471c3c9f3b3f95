# humo-worker as an image, in two targets:
#
#   docker build -t humo-worker .                    for NVIDIA cards; what RunPod runs
#   docker build -t humo-worker:cpu --target cpu .   the same worker without a card
#
# The versions stand here, once. testinput/image compares them with each other, with inference/ort, go.mod,
# scripts/onnxruntime-release.sha256 and .runpod/. The ONNX Runtime release for cards is built for the major version of
# CUDA_VERSION and for cuDNN 9.
ARG GO_IMAGE=golang:1.26.8-bookworm@sha256:a688600ca24f8a4d3ca77f95b0dd40704a9fc787c826660eb7ba0b641b8b175d
ARG DEBIAN_IMAGE=debian:bookworm-slim@sha256:3783cc01769c7b2b1b83a5c5ad96c815348e28ed7da68e2e3687004faa906251
ARG CUDA_VERSION=13.0.2
ARG CUDA_DIGEST=sha256:14d94b039cb94bbd5da559f303b46bc4b0d5d6c24ab1a9d7b186e566ed3400dc
ARG ORT_VERSION=1.30.0


# The program, what it is made of (CycloneDX) and under which licences, and the demo weights that image-check and RunPod's Hub
# test run on.
FROM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=1 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o /out/humo-worker . \
 && go run ./scripts/sbom -version "$VERSION" /out/humo-worker /out \
 && /out/humo-worker weights demo --dir /out/demo


# ONNX Runtime, fetched and compared with its SHA-256 in layers that only a change of version makes again.
FROM ${DEBIAN_IMAGE} AS release
# hadolint ignore=DL3008 # Debian keeps only the newest of a package: a pinned version cannot be installed for long
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates curl \
 && rm -rf /var/lib/apt/lists/*
COPY scripts/onnxruntime-release.sh scripts/onnxruntime-release.sha256 /scripts/

FROM release AS release-cpu
ARG ORT_VERSION
RUN /scripts/onnxruntime-release.sh x64 "$ORT_VERSION" /opt/onnxruntime

FROM release AS release-gpu
ARG ORT_VERSION
ARG CUDA_VERSION
RUN /scripts/onnxruntime-release.sh "x64-gpu_cuda${CUDA_VERSION%%.*}" "$ORT_VERSION" /opt/onnxruntime


# What both targets get beside the program: its licence and its modules', the demo weights, a sample job, and the check.
FROM scratch AS files
COPY LICENSE NOTICE scripts/image-check.sh /usr/share/humo-worker/
COPY testinput/test_input.json testinput/voice.wav /usr/share/humo-worker/testinput/
COPY --from=build /out/licences /usr/share/humo-worker/licences
COPY --from=build /out/demo /usr/share/humo-worker/demo


FROM ${DEBIAN_IMAGE} AS cpu
# hadolint ignore=DL3008 # as above
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates curl ffmpeg \
 && rm -rf /var/lib/apt/lists/*
COPY --from=release-cpu /opt/onnxruntime /opt/onnxruntime
# Local results go where every user may write; a worker's go to the bucket.
ENV ONNXRUNTIME_LIB=/opt/onnxruntime/libonnxruntime.so.1 \
    HUMO_OUTPUT=/tmp/output
COPY --from=files /usr/share/humo-worker /usr/share/humo-worker
COPY --from=build /out/sbom-cpu.cdx.json /usr/share/humo-worker/sbom.cdx.json
COPY --from=build /out/humo-worker /usr/local/bin/humo-worker
RUN /usr/share/humo-worker/image-check.sh
ARG VERSION=dev
LABEL org.opencontainers.image.title="humo-worker" \
      org.opencontainers.image.description="HuMo, talking-person video, as a RunPod serverless worker: CPU" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION"
WORKDIR /
STOPSIGNAL SIGTERM
CMD ["/usr/local/bin/humo-worker"]


# The last stage is what is built by default. What it adds lies in the same order as above: a new program is three
# small layers, and ONNX Runtime's (0.3 GB) stays where it is cached.
FROM nvidia/cuda:${CUDA_VERSION}-cudnn-runtime-ubuntu24.04@${CUDA_DIGEST} AS gpu
# hadolint ignore=DL3008 # as above
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates curl ffmpeg \
 && rm -rf /var/lib/apt/lists/*
COPY --from=release-gpu /opt/onnxruntime /opt/onnxruntime
# A driver that is too old is reported as such before the first job. Of its version the first two parts count.
ARG CUDA_VERSION
ENV ONNXRUNTIME_LIB=/opt/onnxruntime/libonnxruntime.so.1 \
    HUMO_OUTPUT=/tmp/output \
    RUNPOD_MIN_CUDA_VERSION=$CUDA_VERSION \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=files /usr/share/humo-worker /usr/share/humo-worker
COPY --from=build /out/sbom-gpu.cdx.json /usr/share/humo-worker/sbom.cdx.json
COPY --from=build /out/humo-worker /usr/local/bin/humo-worker
RUN /usr/share/humo-worker/image-check.sh
ARG VERSION=dev
LABEL org.opencontainers.image.title="humo-worker" \
      org.opencontainers.image.description="HuMo, talking-person video, as a RunPod serverless worker: NVIDIA cards" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION"
WORKDIR /
STOPSIGNAL SIGTERM
CMD ["/usr/local/bin/humo-worker"]
