"""Small blocks of models, each written by hand in several styles, and blocks that are nearly, but not, the same."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812  as everybody does
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH, HEADS, LENGTH = 32, 4, 8


class Norm(nn.Module):
    """RMSNorm, as Llama has it."""

    def __init__(self, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(1 + 0.1 * torch.randn(WIDTH))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dtype = x.dtype
        x = x.to(torch.float32)
        variance = x.pow(2).mean(-1, keepdim=True)
        x = x * torch.rsqrt(variance + self.eps)
        return self.weight * x.to(dtype)


class DividingNorm(Norm):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / torch.sqrt(torch.mean(x * x, dim=-1, keepdim=True) + self.eps) * self.weight


class SummingNorm(Norm):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        squares = torch.square(x.float()).sum(dim=-1, keepdim=True) / x.shape[-1]
        return (x.float() * (squares + self.eps) ** -0.5).type_as(x) * self.weight


class GemmaNorm(Norm):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return (wide * (1.0 + self.weight.float())).type_as(x)


class WrittenLayerNorm(nn.Module):
    def __init__(self, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = nn.Parameter(torch.randn(WIDTH)), nn.Parameter(torch.randn(WIDTH)), eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean(-1, keepdim=True)
        variance = (x - mean).pow(2).mean(-1, keepdim=True)
        return self.weight * (x - mean) / torch.sqrt(variance + self.eps) + self.bias


class SwiGLU(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(WIDTH, 48), nn.Linear(WIDTH, 48), nn.Linear(48, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class SwiGLUOfModules(SwiGLU):
    def __init__(self) -> None:
        super().__init__()
        self.act = nn.SiLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(torch.mul(self.up(x), self.act(self.gate(x))))


class SwiGLUWrittenOut(SwiGLU):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, up = F.linear(x, torch.cat([self.gate.weight, self.up.weight])).chunk(2, dim=-1)
        return self.down(gate * torch.sigmoid(gate) * up)


class GeLU(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3))))


class GeLUOfErf(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0)))


class GeLUFactored(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = 0.7978845608028654 * x * (1 + 0.044715 * x * x)
        return x / 2 * (torch.tanh(inner) + 1)


class Attention(nn.Module):
    """Causal, as GPT has it."""

    def __init__(self) -> None:
        super().__init__()
        self.project, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.register_buffer("mask", torch.tril(torch.ones(64, 64)).view(1, 1, 64, 64))

    def heads(self, x: torch.Tensor) -> list[torch.Tensor]:
        batch, length, width = x.shape
        return [
            part.view(batch, length, HEADS, width // HEADS).transpose(1, 2) for part in self.project(x).split(width, -1)
        ]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.heads(x)
        scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        scores = scores.masked_fill(self.mask[:, :, : x.shape[1], : x.shape[1]] == 0, float("-inf"))
        return self.out((F.softmax(scores, dim=-1) @ v).transpose(1, 2).reshape(x.shape))


class AttentionWithBias(Attention):
    """A mask is added, as in BERT."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.heads(x)
        scores = torch.matmul(q, k.mT) / math.sqrt(WIDTH // HEADS)
        bias = torch.triu(torch.full((x.shape[1], x.shape[1]), -1e4), diagonal=1)
        weights = torch.softmax(scores + bias, -1)
        return self.out(torch.matmul(weights, v).permute(0, 2, 1, 3).contiguous().view(x.shape))


class AttentionScaledFirst(Attention):
    """No mask, the queries scaled, as in ViT."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.heads(x)
        q = q * (WIDTH // HEADS) ** -0.5
        weights = (q @ k.transpose(-2, -1)).softmax(dim=-1)
        return self.out((weights @ v).transpose(1, 2).reshape(x.shape))


class Block(nn.Module):
    """A block with the norms before."""

    def __init__(self, norm: Callable[[], nn.Module], attention: Callable[[], nn.Module], mlp: nn.Module) -> None:
        super().__init__()
        self.norm1, self.norm2, self.attention, self.mlp = norm(), norm(), attention(), mlp

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class BertBlock(Block):
    """A block with the norms after."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm1(self.attention(x) + x)
        return self.norm2(self.mlp(x) + x)


def feed_forward(activation: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, 48), activation, nn.Linear(48, WIDTH))


def llama(style: int) -> nn.Module:
    norm = (Norm, DividingNorm, SummingNorm)[style]
    mlp = (SwiGLU, SwiGLUOfModules, SwiGLUWrittenOut)[style]
    attention = (Attention, AttentionWithBias, AttentionScaledFirst)[style]
    return nn.Sequential(*(Block(norm, attention, mlp()) for _ in range(2)))


def gemma() -> nn.Module:
    return Block(GemmaNorm, AttentionScaledFirst, SwiGLU())


def bert(activation: nn.Module) -> nn.Module:
    return BertBlock(WrittenLayerNorm, AttentionWithBias, feed_forward(activation))


def vit() -> nn.Module:
    return Block(lambda: nn.LayerNorm(WIDTH), AttentionScaledFirst, feed_forward(GeLUOfErf()))


def convolutional() -> nn.Module:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5)
    )
    for norm in (model[1], model[4]):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
    return model


class Looping(nn.Module):
    """A block with a norm is called in a loop, two other norms once each."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.block, self.times = nn.Sequential(nn.Linear(WIDTH, WIDTH), Norm(1e-5)), times
        self.first, self.second = Norm(), Norm()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(self.times):
            x = self.block(x)
        return self.second(self.first(x))


# ------------------------------------------------------------------------------------------------------- near-misses


class EpsilonOutside(Norm):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / (torch.sqrt(x.pow(2).mean(-1, keepdim=True)) + self.eps) * self.weight


class OtherDimension(Norm):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + self.eps) * self.weight


class Detached(Norm):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True).detach() + self.eps) * self.weight


class UsedTwice(Norm):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        factor = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)
        return x * factor * self.weight, factor


class ThreeQuarters(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0.75 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3))))


class QuickGeLU(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(1.702 * x)


class SlightlyOther(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.0447 * torch.pow(x, 3))))


class WrongDimension(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.heads(x)
        return (
            (((q @ k.transpose(-2, -1)) / math.sqrt(WIDTH // HEADS)).softmax(-2) @ v).transpose(1, 2).reshape(x.shape)
        )


class WeightsReturned(Attention):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        q, k, v = self.heads(x)
        weights = (q @ k.transpose(-2, -1)).softmax(-1)
        return (weights @ v).transpose(1, 2).reshape(x.shape), weights


NEAR_MISSES = (
    EpsilonOutside, OtherDimension, Detached, UsedTwice, ThreeQuarters, QuickGeLU, SlightlyOther, WrongDimension,
    WeightsReturned,
)  # fmt: skip


class Reading(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(x) if x.sum() > 0 else x


class Counting(nn.Module):
    calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x * torch.sigmoid(x)


class InPlace(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x += 1
        return x * torch.sigmoid(x)


class Appending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(1.0)
        return x * torch.sigmoid(x)


SEEN: list[torch.Size] = []
KEPT: dict[str, torch.Tensor] = {}
TEMPERATURE = torch.tensor(2.0)


class AppendingToGlobal(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        SEEN.append(x.shape)
        return x * torch.sigmoid(x)


def keep(x: torch.Tensor) -> None:
    KEPT["last"] = x


class Keeping(nn.Module):
    """Another function keeps a tensor: its code does not show it, the tensor does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.sigmoid(x)
        keep(y)
        return x * y


class Elsewhere(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(x) * TEMPERATURE


class OtherViewOfWritten(nn.Module):
    """A module that it calls writes into what it is given, and it uses a view of that."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * torch.sigmoid(x)
        view = y.view(-1)
        return self.act(y) + view.view(x.shape)


class OtherView(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * torch.sigmoid(x)
        view = y.view(-1)
        y += 1
        return y + view.view(x.shape)


OPAQUE = {
    Reading: "reads values", Counting: "changes its own attributes", InPlace: "in place",
    Appending: "changes its own attributes", AppendingToGlobal: "changes what is outside of it (SEEN)",
    Keeping: "shares a tensor that lives on after the call", Elsewhere: "shares a tensor that lives on after the call",
    OtherView: "writes in place, and uses another view",
    OtherViewOfWritten: "writes in place, and uses another view",
}  # fmt: skip
