#!/usr/bin/env bash
# run.sh ta|tia: sends a job, shows how it gets on, and fetches the video.
set -euo pipefail

inputs=$(dirname "${BASH_SOURCE[0]}")/../../testinput
base=${RUNPOD_ENDPOINT_BASE_URL:-http://localhost:8000/v2}/${RUNPOD_ENDPOINT_ID:-local}
ask=(curl --silent --show-error --fail-with-body -H "Authorization: Bearer ${RUNPOD_API_KEY:-local}" -H 'Content-Type: application/json')

# field NAME: a text of the JSON on standard input.
field() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p"; }

case ${1:-} in
ta) images='[]' ;;
tia) images='[{"type": "image/png", "data": "'$(base64 -w0 "$inputs/person.png")'"}]' ;;
*) echo "usage: $0 ta|tia" >&2; exit 2 ;;
esac

id=$(printf '{"input": {
  "prompt": "A woman with brown hair and a blue jumper looks into the camera and speaks calmly, plain grey background.",
  "audio": {"type": "audio/wav", "data": "%s"}, "images": %s,
  "frames": 9, "width": 96, "height": 64, "steps": 4, "seed": 42
}}' "$(base64 -w0 "$inputs/voice.wav")" "$images" | "${ask[@]}" --data-binary @- "$base/run" | field id)

while :; do
  answer=$("${ask[@]}" "$base/status/$id")
  status=$(field status <<<"$answer")
  echo "$id: $status $(field stage <<<"$answer")"
  case $status in IN_QUEUE | IN_PROGRESS) sleep 1 ;; *) break ;; esac
done
[[ $status == COMPLETED ]] || { echo "$answer" >&2; exit 1; }

curl --silent --show-error --fail --output video.mp4 "$(field video_url <<<"$answer")"
echo "The video: $PWD/video.mp4"
