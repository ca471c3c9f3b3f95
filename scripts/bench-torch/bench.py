"""Times HuMo's networks in PyTorch, for `humo-worker bench --vs-torch`.

The first argument is the network as JSON, the second where it runs. When it is ready the script prints a line with PyTorch's
version and the memory that it holds with nothing but its libraries; then it runs once for every line it reads, and answers with
the seconds and the most memory that was resident meanwhile. Weights are random: what is timed does not depend on their values. A
tool for developers; the worker needs no Python.
"""

import json
import resource
import sys
import time

import torch

import dit
import umt5
import vae
import whisper


def main():
    task, where = json.loads(sys.argv[1]), json.loads(sys.argv[2])
    if where["threads"]:
        torch.set_num_threads(where["threads"])
    device, dtype = torch.device(where["device"]), getattr(torch, where["dtype"])
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    libraries = peak()
    run = prepare(task, device, dtype)
    say({"torch": torch.__version__, "libraries": libraries})
    for _ in sys.stdin:
        wait(device)
        forget_peak()
        began = time.perf_counter()
        run()
        wait(device)
        say({"seconds": time.perf_counter() - began, "peak": peak()})


def prepare(task, device, dtype):
    """The task as a function without arguments."""
    name = task["task"]
    if name == "products":
        return products(task, device, dtype)
    if name == "dit":
        return dit.task(task, device, dtype)
    if name == "vae":  # float32, as in the reference
        return vae.task(task, device)
    if name == "text":
        return umt5.task(task, device, dtype)
    if name == "audio":
        return whisper.task(task, device, dtype)
    return clip(task, device, dtype)


def products(task, device, dtype):
    """Two bare matrix products, there and back."""
    rows, width, inner = task["rows"], task["width"], task["inner"]
    x, up, down = (torch.rand(n, m, device=device, dtype=dtype) / 16 for n, m in ((rows, width), (width, inner), (inner, width)))
    return lambda: x @ up @ down


def clip(task, device, dtype):
    """A clip of one step: both prompts, the voice, the passes, the frames; without reading or writing a file."""
    text, audio, transformer, decode = (prepare(task[part], device, dtype) for part in ("text", "audio", "dit", "vae"))

    def run():
        text(), text(), audio()
        for _ in range(task["passes"]):
            transformer()
        decode()

    return run


def wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def forget_peak():
    try:
        with open("/proc/self/clear_refs", "w") as f:
            f.write("5")
    except OSError:
        pass  # then the peak is the process's, since it began


def peak():
    """The most bytes of memory that were resident."""
    try:
        with open("/proc/self/status") as f:
            return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def say(answer):
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
