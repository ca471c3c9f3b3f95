#!/bin/sh
# onnxruntime-release.sh FLAVOUR VERSION DIR puts the libraries of an ONNX Runtime release into DIR. FLAVOUR is x64, or
# x64-gpu_cuda13 for NVIDIA cards. An archive without a line in onnxruntime-release.sha256, or whose bytes are not those
# of its line, is refused, and nothing is left in DIR. The image is built with it; it serves a machine with a card too.
# It needs curl, tar and sha256sum.
set -eu

die() { printf 'onnxruntime-release: %s\n' "$*" >&2; exit 1; }

[ $# -eq 3 ] || die 'give FLAVOUR VERSION DIR, such as x64-gpu_cuda13 1.30.0 /opt/onnxruntime'
name=onnxruntime-linux-$1-$2
dir=$3
sums=$(dirname "$0")/onnxruntime-release.sha256
line=$(grep -E "^[0-9a-f]{64}  $name\.tgz\$" "$sums") ||
  die "$name.tgz has no SHA-256 in $sums: take it from the release's page and add the line"

mkdir -p "$(dirname "$dir")"
work=$(mktemp -d "$(dirname "$dir")/.onnxruntime-XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM # dash runs the trap above only on an exit
curl -fsSL --proto '=https' --retry 5 --retry-connrefused -o "$work/$name.tgz" \
  "https://github.com/microsoft/onnxruntime/releases/download/v$2/$name.tgz" || die "$name.tgz could not be fetched"
(cd "$work" && printf '%s\n' "$line" | sha256sum -c --quiet -) || die "$name.tgz is not the pinned one: refusing it"

# The archive's folder is not always named as the archive is. TensorRT's provider is for another library, which nobody
# has here; symbolic links become the file that they mean.
mkdir "$work/all" "$work/lib"
tar -xzf "$work/$name.tgz" -C "$work/all"
library=$(find "$work/all" -type f -name "libonnxruntime.so.$2")
[ -n "$library" ] || die "$name.tgz holds no libonnxruntime.so.$2"
cp "$library" "$work/lib/libonnxruntime.so.1"
for provider in shared cuda; do
  found=$(dirname "$library")/libonnxruntime_providers_$provider.so
  if [ -e "$found" ]; then cp "$found" "$work/lib/"; fi
done
for notice in LICENSE ThirdPartyNotices.txt; do
  found=$(dirname "$(dirname "$library")")/$notice
  if [ -e "$found" ]; then cp "$found" "$work/lib/"; fi
done
chmod -R u=rwX,go=rX "$work/lib"
rm -rf "$dir"
mv "$work/lib" "$dir"
