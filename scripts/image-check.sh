#!/bin/sh
# image-check.sh checks the image that it runs in, at the end of its build and whenever somebody wants to know: the
# programs that a worker and RunPod's Hub need are there, Python is not, the bill of materials is this program's, every library
# finds what it links to, and a clip comes out of the demo weights. It leaves nothing behind.
set -eu

die() { printf 'image-check: %s\n' "$*" >&2; exit 1; }

for program in sh which curl apt-get ffmpeg ffprobe humo-worker; do
  command -v "$program" >/dev/null || die "$program is missing"
done
for program in python python3 pip pip3; do
  if command -v "$program" >/dev/null; then die "$program is there; nothing needs it"; fi
done

ours=/usr/share/humo-worker
sum=$(sha256sum "$(command -v humo-worker)" | cut -c 1-64)
grep -q "\"$sum\"" "$ours/sbom.cdx.json" || die "$ours/sbom.cdx.json is not of the program that is here"

folder=$(dirname "$ONNXRUNTIME_LIB")
for library in "$folder"/*.so*; do
  # libcuda.so.1 is the driver's: the host brings it.
  missing=$(ldd "$library" | awk '/not found/ && $1 != "libcuda.so.1" { print $1 }')
  [ -z "$missing" ] || die "$library does not find $missing"
done
if [ -e "$folder/libonnxruntime_providers_cuda.so" ]; then
  ldconfig -p | grep -q 'libcudnn\.so\.9 ' || die "libcudnn.so.9 is missing, which ONNX Runtime opens for convolutions"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HUMO_WEIGHTS="$ours/demo" HUMO_OUTPUT="$work/output" HUMO_TMP="$work/tmp" HUMO_CACHE=none
humo-worker --test_input "$ours/testinput/test_input.json" >"$work/log" 2>&1 || { cat "$work/log" >&2; die 'the sample job fails'; }
video=$(find "$work/output" -name video.mp4)
frames=$(ffprobe -v error -select_streams v -count_frames -show_entries stream=nb_read_frames -of csv=p=0 "$video")
[ "$frames" = 17 ] || die "the sample job's video has $frames frames, not 17"
printf 'image-check: %s, ONNX Runtime in %s: all is well\n' "$(humo-worker version | head -n 1)" "$folder"
