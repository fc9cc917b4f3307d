"""Style one: a class for everything, and modules of PyTorch where there are some."""

from __future__ import annotations

import math

import torch
from torch import nn

from tests.unit.fix.styles.shape import (
    CHANNELS,
    EPS,
    GROUPS,
    HEAD,
    HEADS,
    INNER,
    LAYERS,
    LENGTH,
    SHARED,
    SIDE,
    WIDTH,
    WORDS,
    Decoder,
    angles,
)  # fmt: skip


class Norm(nn.Module):
    def __init__(self, width: int, *, gemma: bool) -> None:
        super().__init__()
        self.weight, self.gemma = nn.Parameter(torch.randn(width) * 0.1 + (0.0 if gemma else 1.0)), gemma

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + EPS)
        return (wide * (1.0 + self.weight)).type_as(x) if self.gemma else self.weight * wide.type_as(x)


def rotate_half(x: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


def repeat(x: torch.Tensor, times: int) -> torch.Tensor:
    batch, heads, length, width = x.shape
    return x[:, :, None].expand(batch, heads, times, length, width).reshape(batch, heads * times, length, width)


class CausalAttention(nn.Module):
    def __init__(self, family: Decoder) -> None:
        super().__init__()
        self.q, self.o = nn.Linear(WIDTH, HEADS * HEAD, bias=False), nn.Linear(HEADS * HEAD, WIDTH, bias=False)
        self.k, self.v = (nn.Linear(WIDTH, SHARED * HEAD, bias=False) for _ in range(2))
        self.q_norm, self.k_norm = (
            Norm(HEAD, gemma=family.gemma) if family.normed else nn.Identity() for _ in range(2)
        )
        seen = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()
        self.register_buffer("seen", seen.triu(1 - family.window) if family.window else seen)
        turns = torch.cat((angles(HEAD), angles(HEAD)), -1)
        self.register_buffer("cos", turns.cos())
        self.register_buffer("sin", turns.sin())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q = self.q_norm(self.q(x).unflatten(-1, (HEADS, HEAD))).transpose(1, 2)
        k = self.k_norm(self.k(x).unflatten(-1, (SHARED, HEAD))).transpose(1, 2)
        v = self.v(x).unflatten(-1, (SHARED, HEAD)).transpose(1, 2)
        q = q * self.cos + rotate_half(q) * self.sin
        k = k * self.cos + rotate_half(k) * self.sin
        k, v = repeat(k, HEADS // SHARED), repeat(v, HEADS // SHARED)
        scores = q @ k.transpose(-2, -1) / math.sqrt(HEAD)
        weights = scores.masked_fill(~self.seen, float("-inf")).softmax(-1)
        return self.o((weights @ v).transpose(1, 2).flatten(2))


class Gated(nn.Module):
    def __init__(self, family: Decoder) -> None:
        super().__init__()
        self.gate, self.up = (nn.Linear(WIDTH, INNER, bias=False) for _ in range(2))
        self.down = nn.Linear(INNER, WIDTH, bias=False)
        self.act = nn.GELU(approximate="tanh") if family.gemma else nn.SiLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(self.act(self.gate(x)) * self.up(x))


class Block(nn.Module):
    def __init__(self, family: Decoder) -> None:
        super().__init__()
        self.norm1, self.norm2 = (Norm(WIDTH, gemma=family.gemma) for _ in range(2))
        self.attention, self.mlp = CausalAttention(family), Gated(family)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class DecoderModel(nn.Module):
    def __init__(self, family: Decoder) -> None:
        super().__init__()
        self.embed, self.norm = nn.Embedding(WORDS, WIDTH), Norm(WIDTH, gemma=family.gemma)
        self.blocks = nn.Sequential(*(Block(family) for _ in range(LAYERS)))
        self.head, self.loss = nn.Linear(WIDTH, WORDS, bias=False), nn.CrossEntropyLoss()

    def forward(self, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        logits = self.head(self.norm(self.blocks(self.embed(ids))))
        return self.loss(logits.view(-1, WORDS), targets.view(-1))


class FullAttention(nn.Module):
    """Attention of some positions on others, all of which are seen but where a mask says otherwise."""

    def __init__(self, *, bias: bool = True, scaled: bool = True) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH, bias=bias) for _ in range(4))
        self.scale, self.dropout = HEAD**-0.5 if scaled else 1.0, nn.Dropout(0.0)

    def forward(self, x: torch.Tensor, y: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        q, k, v = (
            part.view(*part.shape[:2], HEADS, HEAD).transpose(1, 2) for part in (self.q(x), self.k(y), self.v(y))
        )
        scores = torch.matmul(q, k.transpose(-1, -2)) * self.scale
        if bias is not None:
            scores = scores + bias
        weights = self.dropout(nn.functional.softmax(scores, dim=-1))
        return self.o(torch.matmul(weights, v).transpose(1, 2).reshape(x.shape))


class EncoderLayer(nn.Module):
    """As BERT has it with the norms after, or as ViT has it with the norms before."""

    def __init__(self, *, before: bool, p: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention, self.dropout, self.before = FullAttention(), nn.Dropout(p), before
        self.mlp = nn.Sequential(nn.Linear(WIDTH, INNER), nn.GELU(), nn.Linear(INNER, WIDTH))

    def forward(self, x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        if self.before:
            h = self.norm1(x)
            x = x + self.attention(h, h)
            return x + self.mlp(self.norm2(x))
        x = self.norm1(self.dropout(self.attention(x, x, bias)) + x)
        return self.norm2(self.dropout(self.mlp(x)) + x)


class Bert(nn.Module):
    def __init__(self, p: float = 0.1) -> None:
        super().__init__()
        self.embed, self.places, self.norm = (
            nn.Embedding(WORDS, WIDTH),
            nn.Embedding(LENGTH, WIDTH),
            nn.LayerNorm(WIDTH),
        )
        self.layers = nn.ModuleList(EncoderLayer(before=False, p=p) for _ in range(LAYERS))
        self.head, self.loss = nn.Linear(WIDTH, WORDS), nn.CrossEntropyLoss()

    def forward(self, ids: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        bias = (1.0 - mask[:, None, None, :]) * torch.finfo(mask.dtype).min
        x = self.norm(self.embed(ids) + self.places(torch.arange(LENGTH)))
        for layer in self.layers:
            x = layer(x, bias)
        return self.loss(self.head(x).transpose(1, 2), targets)


class ViT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm = nn.Conv2d(3, WIDTH, 2, stride=2), nn.LayerNorm(WIDTH)
        self.layers = nn.ModuleList(EncoderLayer(before=True, p=0.0) for _ in range(LAYERS))
        self.head, self.loss = nn.Linear(WIDTH, 10), nn.CrossEntropyLoss()

    def forward(self, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        for layer in self.layers:
            x = layer(x, None)
        return self.loss(self.head(self.norm(x)[:, 0]), targets)


class T5Layer(nn.Module):
    def __init__(self, *, crosses: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = Norm(WIDTH, gemma=False), Norm(WIDTH, gemma=False)
        self.attention, self.mlp = FullAttention(bias=False, scaled=False), Gated(Decoder(gemma=True))
        if crosses:
            self.norm3, self.cross = Norm(WIDTH, gemma=False), FullAttention(bias=False, scaled=False)

    def forward(self, x: torch.Tensor, bias: torch.Tensor, memory: torch.Tensor | None = None) -> torch.Tensor:
        h = self.norm1(x)
        x = x + self.attention(h, h, bias)
        if memory is not None:
            x = x + self.cross(self.norm3(x), memory)
        return x + self.mlp(self.norm2(x))


class T5(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.near, self.back = nn.Embedding(WORDS, WIDTH), nn.Embedding(7, HEADS), nn.Embedding(7, HEADS)
        self.encoder = nn.ModuleList(T5Layer(crosses=False) for _ in range(LAYERS))
        self.decoder = nn.ModuleList(T5Layer(crosses=True) for _ in range(LAYERS))
        self.norm1, self.norm2 = Norm(WIDTH, gemma=False), Norm(WIDTH, gemma=False)
        self.loss = nn.CrossEntropyLoss()

    def forward(self, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        apart = (torch.arange(LENGTH)[None] - torch.arange(LENGTH)[:, None]).clamp(-3, 3) + 3
        later = torch.full((LENGTH, LENGTH), float("-inf")).triu(1)
        x = self.embed(ids)
        for layer in self.encoder:
            x = layer(x, self.near(apart).permute(2, 0, 1)[None])
        memory, y = self.norm1(x), self.embed(targets)
        for layer in self.decoder:
            y = layer(y, self.back(apart).permute(2, 0, 1)[None] + later, memory)
        logits = self.norm2(y) * WIDTH**-0.5 @ self.embed.weight.t()
        return self.loss(logits.view(-1, WORDS), targets.view(-1))


class UNetBlock(nn.Module):
    """A residual block with a time embedding, then attention over the image."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.GroupNorm(GROUPS, CHANNELS) for _ in range(3))
        self.conv1, self.conv2 = (nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(2))
        self.act, self.time = nn.SiLU(), nn.Linear(WIDTH, CHANNELS)
        self.qkv, self.out = nn.Conv2d(CHANNELS, 3 * CHANNELS, 1), nn.Conv2d(CHANNELS, CHANNELS, 1)

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        h = self.conv1(self.act(self.norm1(x))) + self.time(self.act(time))[:, :, None, None]
        x = x + self.conv2(self.act(self.norm2(h)))
        q, k, v = self.qkv(self.norm3(x)).view(len(x), 3, 1, CHANNELS, SIDE * SIDE).transpose(-2, -1).unbind(1)
        weights = torch.softmax(q @ k.mT * CHANNELS**-0.5, -1)
        return x + self.out((weights @ v).mT.reshape(x.shape))
