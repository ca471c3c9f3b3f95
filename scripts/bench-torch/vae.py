"""The decoder of Wan 2.1's VAE, chunk by chunk: one latent frame at a time, with the last two input frames of every temporal
convolution remembered, as the reference does it."""

import torch
import torch.nn.functional as F
from torch import nn


class CausalConv(nn.Conv3d):
    """Looks back two frames, which it remembers from chunk to chunk."""

    def __init__(self, inner, outer, kernel):
        super().__init__(inner, outer, kernel)
        self.pad = (kernel[2] // 2,) * 2 + (kernel[1] // 2,) * 2 + (0, 0)
        self.past = None

    def forward(self, x):
        if self.kernel_size[0] == 1:
            return super().forward(F.pad(x, self.pad))
        past = torch.zeros_like(x[:, :, :1]).expand(-1, -1, 2, -1, -1) if self.past is None else self.past
        x = torch.cat([past, x], 2)
        self.past = x[:, :, -2:].clone()
        return super().forward(F.pad(x, self.pad))


class Norm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, 1, 1, 1))

    def forward(self, x):
        return F.normalize(x, dim=1) * x.shape[1] ** 0.5 * self.gamma


class Residual(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.layers = nn.Sequential(
            Norm(inner), nn.SiLU(), CausalConv(inner, outer, (3, 3, 3)),
            Norm(outer), nn.SiLU(), CausalConv(outer, outer, (3, 3, 3)))
        self.shortcut = nn.Identity() if inner == outer else CausalConv(inner, outer, (1, 1, 1))

    def forward(self, x):
        return self.shortcut(x) + self.layers(x)


class PixelAttention(nn.Module):
    """Within each frame, one head over all pixels."""

    def __init__(self, channels):
        super().__init__()
        self.norm = Norm(channels)
        self.qkv, self.out = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        b, c, t, h, w = x.shape
        y = self.norm(x).transpose(1, 2).reshape(b * t, c, h, w)
        q, k, v = self.qkv(y).flatten(2).transpose(1, 2)[:, None].chunk(3, -1)
        y = F.scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2).reshape(b * t, c, h, w)
        return x + self.out(y).view(b, t, c, h, w).transpose(1, 2)


class Up(nn.Module):
    """Doubles the edges and halves the channels; in time it doubles all frames but the clip's first."""

    def __init__(self, channels, time):
        super().__init__()
        self.time = CausalConv(channels, 2 * channels, (3, 1, 1)) if time else None
        self.conv = nn.Conv2d(channels, channels // 2, 3, padding=1)
        self.first = True

    def forward(self, x):
        if self.time is not None and not self.first:
            b, c, t, h, w = x.shape
            x = self.time(x).view(b, 2, c, t, h, w).permute(0, 2, 3, 1, 4, 5).reshape(b, c, 2 * t, h, w)
        self.first = False
        b, c, t, h, w = x.shape
        y = F.interpolate(x.transpose(1, 2).reshape(b * t, c, h, w), scale_factor=2, mode="nearest-exact")
        y = self.conv(y)
        return y.view(b, t, *y.shape[1:]).transpose(1, 2)


class Decoder(nn.Sequential):
    def __init__(self, c):
        super().__init__(
            CausalConv(16, 16, (1, 1, 1)), CausalConv(16, 4 * c, (3, 3, 3)),
            Residual(4 * c, 4 * c), PixelAttention(4 * c), Residual(4 * c, 4 * c),
            Residual(4 * c, 4 * c), Residual(4 * c, 4 * c), Residual(4 * c, 4 * c), Up(4 * c, True),
            Residual(2 * c, 4 * c), Residual(4 * c, 4 * c), Residual(4 * c, 4 * c), Up(4 * c, True),
            Residual(2 * c, 2 * c), Residual(2 * c, 2 * c), Residual(2 * c, 2 * c), Up(2 * c, False),
            Residual(c, c), Residual(c, c), Residual(c, c), Norm(c), nn.SiLU(), CausalConv(c, 3, (3, 3, 3)))

    def forget(self):
        for m in self.modules():
            if isinstance(m, CausalConv):
                m.past = None
            if isinstance(m, Up):
                m.first = True


def task(t, device):
    """The decoding of a clip to frames of bytes."""
    with torch.device(device):
        model = Decoder(t["dim"])
        latents = torch.randn(1, 16, t["frames"], t["height"], t["width"])

    def run():
        model.forget()
        for i in range(t["frames"]):
            frames = model(latents[:, :, i : i + 1])
            ((frames.clamp(-1, 1) * 0.5 + 0.5) * 255).to(torch.uint8).cpu()

    return run
