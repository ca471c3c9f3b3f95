"""The text encoder of Wan 2.1: UMT5, whose layers each have relative positions of their own."""

import math

import torch
import torch.nn.functional as F
from torch import nn

EPS = 1e-6


class Norm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        y = x.float()
        return (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + EPS)).to(self.weight.dtype) * self.weight


def bucket(distance):
    """16 buckets a side, 8 of them exact, the others logarithmic up to a distance of 128."""
    near = distance.abs()
    far = 8 + (torch.log(near.clamp(min=1).float() / 8) / math.log(128 / 8) * 8).long()
    return (distance > 0) * 16 + torch.where(near < 8, near, far.clamp(max=15))


class Block(nn.Module):
    def __init__(self, dim, attention, ffn, heads, buckets):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = Norm(dim), Norm(dim)
        self.q, self.k, self.v = (nn.Linear(dim, attention, bias=False) for _ in range(3))
        self.o = nn.Linear(attention, dim, bias=False)
        self.positions = nn.Embedding(buckets, heads)
        self.gate, self.fc1 = nn.Linear(dim, ffn, bias=False), nn.Linear(dim, ffn, bias=False)
        self.fc2 = nn.Linear(ffn, dim, bias=False)

    def forward(self, x, buckets):
        """x is [1, L, D] in float32, buckets [L, L]; T5 attends without a scale."""
        y = self.norm1(x)
        q, k, v = (f(y).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.q, self.k, self.v))
        bias = self.positions(buckets).permute(2, 0, 1)[None]
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
        x = x + self.o(y.transpose(1, 2).flatten(2)).float()
        y = self.norm2(x)
        return x + self.fc2(self.fc1(y) * F.gelu(self.gate(y), approximate="tanh")).float()


def task(t, device, dtype):
    """The encoding of a text of so many tokens."""
    with torch.device(device):
        torch.set_default_dtype(dtype)
        embedding = nn.Embedding(t["vocabulary"], t["dim"], _weight=torch.ones(t["vocabulary"], t["dim"]))
        blocks = [Block(t["dim"], t["attention"], t["ffn"], t["heads"], t["buckets"]) for _ in range(t["blocks"])]
        norm = Norm(t["dim"])
        torch.set_default_dtype(torch.float32)
        ids = torch.arange(t["tokens"])[None] % t["vocabulary"]
        buckets = bucket(torch.arange(t["tokens"])[None] - torch.arange(t["tokens"])[:, None])

    def run():
        x = embedding(ids).float()
        for block in blocks:
            x = block(x, buckets)
        return norm(x)

    return run
