"""Blocks of models, written out as published code writes them."""

from __future__ import annotations

import torch
from torch import nn


class Norm(nn.Module):  # type: ignore[misc]  # torch is not followed
    """Root mean square normalisation, as models write it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise in float32, round, and scale."""
        wide = x.to(torch.float32)
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
        return self.weight * wide.to(x.dtype)


class LlamaBlock(nn.Module):  # type: ignore[misc]  # torch is not followed
    """Attention with rotary embedding and a gated feed-forward, each after a norm and added to what came in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        inner = 8 * width // 3 // 64 * 64
        self.norm_1, self.norm_2 = Norm(width), Norm(width)
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.gate, self.up = (nn.Linear(width, inner, bias=False) for _ in range(2))
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Take and give ``[batch, tokens, width]``."""
        x = x + self.attend(self.norm_1(x))
        y = self.norm_2(x)
        return x + self.down(nn.functional.silu(self.gate(y)) * self.up(y))

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        """Attend to the tokens before."""
        batch, tokens, width = x.shape
        q, k, v = (part(x).view(batch, tokens, self.heads, -1).transpose(1, 2) for part in (self.q, self.k, self.v))
        place = torch.arange(tokens, device=x.device, dtype=torch.float32)
        half = q.shape[-1] // 2
        angles = torch.outer(place, 10_000.0 ** (-torch.arange(half, device=x.device) / half))
        angles = torch.cat((angles, angles), -1)
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        q, k = (y * cos + torch.cat((-y[..., half:], y[..., :half]), -1) * sin for y in (q, k))
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o(y.transpose(1, 2).reshape(batch, tokens, width))


class ResidualBlock(nn.Module):  # type: ignore[misc]  # torch is not followed
    """Of a diffusion U-Net."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = (nn.GroupNorm(32, channels) for _ in range(2))
        self.conv_1, self.conv_2 = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Take and give ``[batch, channels, height, width]``."""
        y = self.conv_1(nn.functional.silu(self.norm_1(x)))
        return x + self.conv_2(nn.functional.silu(self.norm_2(y)))
