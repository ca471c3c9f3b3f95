#!/usr/bin/env bash
# Gets what the build and the binary need and Go's module proxy does not carry: a C compiler, ffmpeg and the ONNX
# Runtime shared library. Safe to run at any time, by several processes at once; when all is there it needs no network
# and says nothing.
#
#   setup.sh           for the build and the worker
#   setup.sh browser   for the test of the page: Chromium, where it can be installed
#
#   ONNXRUNTIME_LIB   an installed libonnxruntime.so that is used instead of fetching one
#   XDG_CACHE_HOME    where the library is kept (default ~/.cache): humo-worker/onnxruntime-VERSION/
set -euo pipefail

# The npm package's version is ONNX Runtime's. A change here needs new lines in onnxruntime.sha256 and the same version
# in inference/ort.
readonly version=1.30.0
readonly package=onnxruntime-node@$version
readonly library=libonnxruntime.so.1
sums=$(dirname "${BASH_SOURCE[0]}")/onnxruntime.sha256
readonly sums

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# apt_install PACKAGE... — as root, or through sudo; asks for a password only where somebody can type one.
apt_install() {
  local -a as_root=()
  if [[ $EUID -ne 0 ]]; then
    command -v sudo >/dev/null || die "$* is missing, and installing it needs root: run  apt-get install $*  as root, then try again"
    as_root=(sudo)
    [[ -t 0 ]] || as_root+=(-n)
  fi
  command -v apt-get >/dev/null || die "$* is missing and there is no apt-get here: install $* with your system's package manager, then try again"
  say "installing $*"
  local -a get=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
  # The package lists of a fresh image are empty or old, so a failed install is tried once more with new ones.
  "${get[@]}" install -y --no-install-recommends "$@" >/dev/null 2>&1 && return
  "${get[@]}" update >/dev/null && "${get[@]}" install -y --no-install-recommends "$@" >/dev/null ||
    die "apt-get could not install $*: run  apt-get update && apt-get install $*  as root, then try again"
}

# npm's and Go's word for this machine's processor.
architecture() {
  [[ $(uname -s) == Linux ]] || die "only Linux is supported (this is $(uname -s)); use a container"
  case $(uname -m) in
    x86_64) echo x64 ;;
    aarch64 | arm64) echo arm64 ;;
    *) die "ONNX Runtime is published for x86_64 and aarch64, not for $(uname -m): build it and set ONNXRUNTIME_LIB" ;;
  esac
}

# intact FILE ARCH — FILE exists and has the pinned SHA-256.
intact() {
  [[ -f $1 ]] || return 1
  local want got
  want=$(awk -v arch="$2" '$2 == arch { print $1 }' "$sums")
  got=$(sha256sum "$1")
  [[ -n $want && ${got%% *} == "$want" ]]
}

fetch_onnxruntime() {
  local cache arch folder
  arch=$(architecture)
  cache=${XDG_CACHE_HOME:-}
  [[ $cache == /* ]] || cache=${HOME:?is not set: set it, or XDG_CACHE_HOME}/.cache # as the binary looks for it
  cache=$cache/humo-worker
  folder=$cache/onnxruntime-$version
  intact "$folder/$library" "$arch" && return

  command -v npm >/dev/null || die "npm is missing: it fetches ONNX Runtime; install Node.js with npm, or set ONNXRUNTIME_LIB to an installed libonnxruntime.so"
  mkdir -p "$folder"
  exec 9>"$cache/setup.lock"
  flock 9 # another make may be fetching the same file
  intact "$folder/$library" "$arch" && return

  rm -rf "$folder"/.fetch-* # of a fetch that was killed: we hold the lock, so nobody uses it
  local work
  work=$(mktemp -d "$folder/.fetch-XXXXXX")
  # shellcheck disable=SC2064 # the folder is meant now, not at exit
  trap "rm -rf '$work'" EXIT
  say "fetching ONNX Runtime $version (114 MB, once) into $folder"
  # pack downloads and nothing else: the package's install script, which would fetch more, never runs.
  npm pack --ignore-scripts --silent --pack-destination "$work" "$package" >/dev/null ||
    die "npm could not fetch $package: check the network and npm's registry setting, or set ONNXRUNTIME_LIB to an installed libonnxruntime.so"
  tar -xzOf "$work"/*.tgz "package/bin/napi-v6/linux/$arch/$library" >"$work/$library" ||
    die "$package holds no $library for linux/$arch"
  intact "$work/$library" "$arch" ||
    die "$library of $package does not have the SHA-256 pinned in scripts/onnxruntime.sha256: refusing to use it"
  sync "$work/$library"
  mv -f "$work/$library" "$folder/$library"
}

if [[ ${1:-} == browser ]]; then
  command -v chromium >/dev/null || command -v google-chrome >/dev/null || (apt_install chromium) ||
    say "there is no Chromium: the test of the page will be skipped"
  exit 0
fi

command -v "${CC:-gcc}" >/dev/null || apt_install gcc libc6-dev
command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null || apt_install ffmpeg

if [[ -n ${ONNXRUNTIME_LIB:-} && -e $ONNXRUNTIME_LIB ]]; then
  exit 0
fi
[[ -z ${ONNXRUNTIME_LIB:-} ]] || say "ONNXRUNTIME_LIB names no file: fetching ONNX Runtime, but unset it before running humo-worker"
fetch_onnxruntime
