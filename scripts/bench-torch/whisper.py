"""The encoder of Whisper-large-v3, which hears 30 seconds at a time."""

import torch
import torch.nn.functional as F
from torch import nn


class Layer(nn.Module):
    def __init__(self, dim, ffn, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.q, self.v, self.o = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim, bias=False)
        self.fc1, self.fc2 = nn.Linear(dim, ffn), nn.Linear(ffn, dim)

    def forward(self, x):
        y = self.norm1(x)
        q, k, v = (f(y).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.q, self.k, self.v))
        x = x + self.o(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Encoder(nn.Module):
    def __init__(self, dim, ffn, heads, layers, positions, mels):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(mels, dim, 3, padding=1), nn.Conv1d(dim, dim, 3, stride=2, padding=1)
        self.positions = nn.Parameter(torch.randn(positions, dim))
        self.layers = nn.ModuleList(Layer(dim, ffn, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, mel):
        """mel is [1, mels, 2 * positions]; gives HuMo's bands, the means of eight hidden states each, and the last state."""
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2) + self.positions
        bands, total = [], x
        for i, layer in enumerate(self.layers, 1):
            x = layer(x)
            total = x if i % 8 == 0 else total + x
            if i % 8 == 7:
                bands.append(total / 8)
        return bands + [self.norm(x)]


def task(t, device, dtype):
    """The encoding of so many segments of sound; their spectra are made before."""
    with torch.device(device):
        torch.set_default_dtype(dtype)
        model = Encoder(t["dim"], t["ffn"], t["heads"], t["layers"], t["positions"], t["mels"])
        mel = torch.randn(1, t["mels"], 2 * t["positions"])
        torch.set_default_dtype(torch.float32)
    return lambda: [model(mel) for _ in range(t["segments"])]
