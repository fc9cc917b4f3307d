"""How large the models are, and in what Llama, Gemma, Qwen and Mistral differ."""

from __future__ import annotations

from typing import NamedTuple

import torch

WIDTH, HEADS, SHARED, HEAD, INNER, WORDS, LAYERS = 32, 4, 2, 8, 48, 50, 2
BATCH, LENGTH, GROUPS, CHANNELS, SIDE = 2, 6, 2, 8, 6
EPS = 1e-6


class Decoder(NamedTuple):
    """One family of decoders.

    Attributes:
        gemma: Whether norms multiply by 1 + weight, and the gate is GELU by tanh.
        normed: Whether queries and keys are normalised.
        window: How far back a position sees; 0 for to the beginning.
    """

    gemma: bool = False
    normed: bool = False
    window: int = 0


LLAMA, GEMMA, QWEN, MISTRAL = Decoder(), Decoder(gemma=True), Decoder(normed=True), Decoder(window=3)


def random(*shape: int, scale: float = 0.3) -> torch.Tensor:
    return torch.randn(shape) * scale


def angles(width: int) -> torch.Tensor:
    """Return an angle for each position and each pair."""
    return torch.arange(LENGTH)[:, None] / 10.0 ** (torch.arange(width // 2) * 2 / width)


def words() -> tuple[torch.Tensor, torch.Tensor]:
    made = torch.Generator().manual_seed(0)
    return tuple(torch.randint(WORDS, (BATCH, LENGTH), generator=made) for _ in range(2))


def padded() -> torch.Tensor:
    """Return a mask with a position that does not count."""
    mask = torch.ones(BATCH, LENGTH)
    mask[0, -1] = 0.0
    return mask
