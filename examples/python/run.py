"""python run.py ta|tia: sends a job, shows how it gets on, and fetches the video."""

import base64
import os
import pathlib
import sys
import time
import urllib.request

os.environ.setdefault("RUNPOD_ENDPOINT_BASE_URL", "http://localhost:8000/v2")  # before the import

import runpod  # noqa: E402

INPUTS = pathlib.Path(__file__).parents[2] / "testinput"


def source(name, kind):
    """A file in the form in which it goes into a job."""
    return {"type": kind, "data": base64.b64encode((INPUTS / name).read_bytes()).decode()}


def main(mode):
    runpod.api_key = os.environ.get("RUNPOD_API_KEY", "local")
    endpoint = runpod.Endpoint(os.environ.get("RUNPOD_ENDPOINT_ID", "local"))
    job = endpoint.run({
        "input": {
            "prompt": "A woman with brown hair and a blue jumper looks into the camera and speaks calmly, plain grey background.",
            "audio": source("voice.wav", "audio/wav"),
            "images": [source("person.png", "image/png")] if mode == "tia" else [],
            "frames": 9, "width": 96, "height": 64, "steps": 4, "seed": 42,
        }
    })
    while (status := job.status()) in ("IN_QUEUE", "IN_PROGRESS"):
        print(f"{job.job_id}: {status}")
        time.sleep(1)
    result = job.output()
    if status != "COMPLETED":
        sys.exit(f"{status}: {result}")
    urllib.request.urlretrieve(result["video_url"], "video.mp4")
    print("The video: video.mp4")


if __name__ == "__main__":
    if sys.argv[1:] not in (["ta"], ["tia"]):
        sys.exit("usage: run.py ta|tia")
    main(sys.argv[1])
