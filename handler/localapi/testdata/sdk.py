"""What the Python SDK does: run, status, output, stream, run_sync, cancel, health, purge_queue, and its asyncio twin."""

import asyncio
import json
import os
import sys

import aiohttp
import runpod
from runpod import AsyncioEndpoint, AsyncioJob

BRIEF, LONG, WRONG = (json.loads(text) for text in sys.argv[1:])

runpod.api_key = os.environ["RUNPOD_API_KEY"]
endpoint = runpod.Endpoint("demo")

job = endpoint.run(BRIEF)
assert job.status() in ("IN_QUEUE", "IN_PROGRESS", "COMPLETED"), job.status()
assert job.output(timeout=60)["frames"] == 5
assert job.status() == "COMPLETED"

job = endpoint.run(BRIEF)
chunks = list(job.stream())
assert len(chunks) == 1 and chunks[0]["preview"].startswith("data:image/jpeg;base64,"), chunks

assert endpoint.run_sync(BRIEF, timeout=60)["frames"] == 5

failed = endpoint.run(WRONG)
assert failed.output(timeout=60)["error"]["field"] == "widht"
assert failed.status() == "FAILED"

running, waiting = endpoint.run(LONG), endpoint.run(LONG)
health = endpoint.health()
assert health["jobs"]["inQueue"] == 1 and health["workers"]["running"] == 1, health
assert endpoint.purge_queue() == {"removed": 1, "status": "completed"}
assert running.cancel()["status"] == "CANCELLED"
assert running.status() == "CANCELLED" and waiting.status() == "CANCELLED"


async def twin():
    async with aiohttp.ClientSession() as session:
        job = await AsyncioEndpoint("demo", session).run(BRIEF["input"])
        assert isinstance(job, AsyncioJob)
        assert (await job.output(timeout=60))["frames"] == 5
        assert await job.status() == "COMPLETED"


asyncio.run(twin())
print("all is well")
