"""HuMo's diffusion transformer: patches, blocks, patches again. The residual stream, its norms, the modulation and the
positions are float32; layers and attention have the type that is asked for."""

import torch
import torch.nn.functional as F
from torch import nn

HEAD = 128
CONTEXT_ROWS = 512
AUDIO_TOKENS = 16
EPS = 1e-6


class RMSNorm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        y = x.float()
        return (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + EPS)).to(x.dtype) * self.weight


class Attention(nn.Module):
    """Queries of x attend keys and values, in heads of 128; q and k are normalised over the whole width."""

    def __init__(self, dim, context):
        super().__init__()
        self.q, self.o = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.k, self.v = nn.Linear(context, dim), nn.Linear(context, dim)
        self.norm_q, self.norm_k = RMSNorm(dim), RMSNorm(dim)

    def keys(self, context):
        return self.norm_k(self.k(context)), self.v(context)

    def forward(self, x, keys, positions=None):
        q, (k, v) = self.norm_q(self.q(x)), keys
        q, k, v = (t.unflatten(-1, (-1, HEAD)) for t in (q, k, v))
        if positions is not None:
            q, k = rotate(q, positions), rotate(k, positions)
        y = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        return self.o(y.transpose(1, 2).flatten(2))


def rotate(x, positions):
    """Turns neighbouring pairs of x [B, L, heads, 128] by positions, complex numbers [L, 1, 64]."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * positions).flatten(-2).to(x.dtype)


def rotary(frames, rows, columns, device):
    """The positions of all tokens: 22 pairs of a head turn with the frame, 21 with the row, 21 with the column."""
    axes = []
    for size, pairs, shape in ((frames, 22, (-1, 1, 1, 22)), (rows, 21, (1, -1, 1, 21)), (columns, 21, (1, 1, -1, 21))):
        frequency = 10000 ** (-torch.arange(pairs, device=device) / pairs)
        angle = torch.outer(torch.arange(size, device=device).float(), frequency)
        axes.append(torch.polar(torch.ones_like(angle), angle).view(shape).expand(frames, rows, columns, pairs))
    return torch.cat(axes, -1).reshape(-1, 1, HEAD // 2)


class Block(nn.Module):
    def __init__(self, dim, ffn, audio):
        super().__init__()
        self.modulation = nn.Parameter(torch.randn(1, 6, dim) / dim**0.5)
        self.self_attn, self.cross_attn, self.audio_attn = Attention(dim, dim), Attention(dim, dim), Attention(dim, audio)
        self.norm3, self.norm_audio = nn.LayerNorm(dim, EPS), nn.LayerNorm(dim, EPS)
        self.ffn = nn.Sequential(nn.Linear(dim, ffn), nn.GELU("tanh"), nn.Linear(ffn, dim))

    def forward(self, x, e0, text, audio, positions, dtype):
        """x is [1, L, D] in float32; text and audio are keys and values."""
        shift1, scale1, gate1, shift2, scale2, gate2 = (self.modulation.float() + e0).unbind(1)
        y = (norm(x) * (1 + scale1) + shift1).to(dtype)
        x = x + self.self_attn(y, self.self_attn.keys(y), positions).float() * gate1
        y = norm(x, self.norm3).to(dtype)
        x = x + self.cross_attn(y, text).float()
        frames = audio[0].shape[0]
        y = norm(x, self.norm_audio).to(dtype).view(frames, -1, x.shape[-1])
        x = x + self.audio_attn(y, audio).float().view_as(x)
        y = (norm(x) * (1 + scale2) + shift2).to(dtype)
        return x + self.ffn(y).float() * gate2


def norm(x, affine=None):
    if affine is None:
        return F.layer_norm(x, x.shape[-1:], eps=EPS)
    return F.layer_norm(x, x.shape[-1:], affine.weight.float(), affine.bias.float(), EPS)


class DiT(nn.Module):
    def __init__(self, dim, ffn, blocks, channels, audio):
        super().__init__()
        self.patches = nn.Linear(channels * 4, dim)
        self.blocks = nn.ModuleList(Block(dim, ffn, audio) for _ in range(blocks))
        self.modulation = nn.Parameter(torch.randn(1, 2, dim) / dim**0.5)
        self.head = nn.Linear(dim, 64)

    def forward(self, latents, e, e0, text, audio, positions, dtype):
        """latents are [channels, F, h, w]; gives the velocity [16, F, h, w]."""
        c, f, h, w = latents.shape
        x = latents.view(c, f, h // 2, 2, w // 2, 2).permute(1, 2, 4, 0, 3, 5).reshape(1, -1, c * 4)
        x = self.patches(x.to(dtype)).float()
        for block, t, a in zip(self.blocks, text, audio):
            x = block(x, e0, t, a, positions, dtype)
        shift, scale = (self.modulation.float() + e[:, None]).unbind(1)
        x = F.linear(norm(x) * (1 + scale) + shift, self.head.weight.float(), self.head.bias.float())
        return x.view(f, h // 2, w // 2, 2, 2, 16).permute(5, 0, 1, 3, 2, 4).reshape(16, f, h, w)


def task(t, device, dtype):
    """One pass; the keys and values of text and audio are made before, as they are needed once per clip."""
    dim, grid = t["dim"], t["grid"]
    frames, rows, columns = grid["Frames"], grid["Height"] // 2, grid["Width"] // 2
    audio_width = 1536
    with torch.device(device):
        torch.set_default_dtype(dtype)  # a large model is never there in float32
        model = DiT(dim, t["ffn"], t["blocks"], t["channels"], audio_width)
        torch.set_default_dtype(torch.float32)
        context = torch.randn(1, CONTEXT_ROWS, dim, dtype=dtype)
        windows = torch.randn(frames, AUDIO_TOKENS, audio_width, dtype=dtype)
        text = [b.cross_attn.keys(context) for b in model.blocks]
        audio = [b.audio_attn.keys(windows) for b in model.blocks]
        latents = torch.randn(t["channels"], frames, grid["Height"], grid["Width"])
        e, e0 = torch.randn(1, dim), torch.randn(1, 6, dim)
        positions = rotary(frames, rows, columns, device)
    return lambda: model(latents, e, e0, text, audio, positions, dtype)
