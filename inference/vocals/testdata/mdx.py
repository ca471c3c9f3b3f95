"""Writes mdx.json: what torch and NumPy make of a formula's sound in the manner of python-audio-separator 0.24.1, which
HuMo pins (MDXSeparator.demix with its default settings), with a toy network in place of Kim_Vocal_2. demix below was
compared with that package's own: the largest difference is 1.2e-7.

    pip install torch numpy && python mdx.py
"""
import json

import numpy as np
import torch

FFT, HOP, BINS, COLUMNS, OVERLAP, COMPENSATE = 7680, 1024, 3072, 256, 0.25, 1.009
TRIM, SIZE = FFT // 2, HOP * (COLUMNS - 1)
WINDOW = torch.hann_window(FFT, periodic=True)


def sound(n):
    """Two channels of noise in [-0.5, 0.5): an integer formula, so that a test can make the same."""
    k = np.arange(n, dtype=np.uint64)
    channels = []
    for c in range(2):
        x = (k * k * 2654435761 + k * (40503 + 7919 * c) + 12345) % (1 << 32)
        channels.append((x >> 16).astype(np.float32) / 65536 - 0.5)
    return np.stack(channels)


def toy(spectrum):
    """Depends on the plane, the bin and the column, and mixes the channels, so that no mistake goes unseen."""
    b = torch.arange(BINS)[None, :, None].float()
    t = torch.arange(COLUMNS)[None, None, :].float()
    out = spectrum * (0.5 + b / BINS) * (1 - t / (2 * COLUMNS)) + 0.25 * torch.roll(spectrum, 2, 0)
    out[:, :5] += torch.tensor([1.0, 2.0, 3.0, 4.0])[:, None, None]
    return out


def run(part):
    """One segment, [2, SIZE]."""
    s = torch.stft(torch.tensor(part), FFT, HOP, window=WINDOW, center=True, return_complex=True)
    planes = torch.stack([s[0].real, s[0].imag, s[1].real, s[1].imag])[:, :BINS].clone()
    planes[:, :3] = 0
    planes = torch.nn.functional.pad(toy(planes), (0, 0, 0, FFT // 2 + 1 - BINS))
    s = torch.complex(planes[0::2], planes[1::2])
    return torch.istft(s, FFT, HOP, window=WINDOW, center=True).numpy()


def demix(mix):
    n = mix.shape[1]
    inner = SIZE - 2 * TRIM
    pad = inner + TRIM - n % inner
    padded = np.concatenate([np.zeros((2, TRIM), np.float32), mix, np.zeros((2, pad), np.float32)], 1)
    total = padded.shape[1]
    step = int((1 - OVERLAP) * SIZE)
    result, divider = np.zeros((2, total), np.float32), np.zeros((2, total), np.float32)
    for start in range(0, total, step):
        end = min(start + SIZE, total)
        part = np.zeros((2, SIZE), np.float32)
        part[:, : end - start] = padded[:, start:end]
        window = np.hanning(end - start)
        divider[:, start:end] += window
        result[:, start:end] += run(part)[:, : end - start] * window
    with np.errstate(invalid="ignore", divide="ignore"):  # both are zero at the very ends, which are cut off
        return (result / divider)[:, TRIM:-TRIM][:, :n] * COMPENSATE


cases = []
for n in [1, 1764, 176400, 253440, 500001, 900000]:
    voices = demix(sound(n)).mean(0)
    at = sorted({int(i) for i in np.linspace(0, n - 1, 48)} | {i for i in (1, 191999, 192000, 257279, 257280) if i < n})
    cases.append({"samples": n, "rms": float(np.sqrt(np.mean(voices.astype(np.float64) ** 2))),
                  "at": at, "voices": [float(f"{voices[i]:.7g}") for i in at]})
with open("mdx.json", "w") as f:
    json.dump({"torch": torch.__version__, "numpy": np.__version__, "cases": cases}, f, separators=(",", ":"))
    f.write("\n")
