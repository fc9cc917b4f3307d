"""Dropout whose mask is a function of a seed and of an element's place, in Triton and in PyTorch: never stored.

The seed is a tensor on the device, so that drawing one does not wait for the GPU, and the backward pass makes the same
mask again. Philox 4x32 with ten rounds: Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3,
2011. Row r and column c take word ``c % 4`` of the four that the counter ``(c / 4, r)`` gives under the seed as key.
"""

from __future__ import annotations

from typing import Final

import torch

from perfkit_kernels.dialect import jit, tl

__all__ = ["draw", "dropped", "kept", "kept_tile", "threshold"]

BITS: Final = 24
"""Of each word: as many as float32 holds."""
LOW: Final = 0xFFFFFFFF


def draw(device: torch.device) -> torch.Tensor:
    """Draw a seed from PyTorch's generator of a device, ``[1]``, int64."""
    return torch.randint(1 << 62, (1,), device=device)


def threshold(p: float) -> int:
    """Return how large the bits of an element have to be for it to be kept."""
    return round(p * (1 << BITS))


@jit
def kept_tile(seed, row, start, limit, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Tell which elements of ``[ROWS, BLOCK]`` are kept; ``start`` and BLOCK are multiples of four."""
    quad = (start // 4 + tl.arange(0, BLOCK // 4)).to(tl.uint32)[None, :] + tl.zeros([ROWS, 1], tl.uint32)
    low = (row & 0xFFFFFFFF).to(tl.uint32)[:, None] + tl.zeros_like(quad)
    high = (row >> 32).to(tl.uint32)[:, None] + tl.zeros_like(quad)
    a, b, c, d = tl.philox(seed, quad, low, high, tl.zeros_like(quad))
    words = tl.reshape(tl.join(tl.join(a, c), tl.join(b, d)), [ROWS, BLOCK])
    return (words >> 8).to(tl.int32) >= limit


def kept(seed: torch.Tensor, shape: tuple[int, ...], p: float) -> torch.Tensor:
    """Tell which elements of a shape are kept."""
    width = shape[-1]
    rows, quads = torch.Size(shape[:-1]).numel(), -(-width // 4)
    row = torch.arange(rows, device=seed.device)[:, None]
    quad = torch.arange(quads, device=seed.device)[None, :]
    counter = [quad.expand(rows, -1), row & LOW, row >> 32, torch.zeros_like(row)]
    keys = [seed & LOW, (seed >> 32) & LOW]
    for _ in range(10):
        (high_a, low_a), (high_b, low_b) = _product(0xD2511F53, counter[0]), _product(0xCD9E8D57, counter[2])
        counter = [high_b ^ counter[1] ^ keys[0], low_b, high_a ^ counter[3] ^ keys[1], low_a]
        keys = [(keys[0] + 0x9E3779B9) & LOW, (keys[1] + 0xBB67AE85) & LOW]
    words = torch.stack(torch.broadcast_tensors(*counter), -1).reshape(rows, 4 * quads)[:, :width]
    return (words >> (32 - BITS) >= threshold(p)).reshape(shape)


def _product(factor: int, words: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the high and the low 32 bits of products of 32-bit words, which int64 alone would not hold."""
    low = factor * (words & 0xFFFF)
    high = factor * (words >> 16) + (low >> 16)
    return high >> 16, ((high & 0xFFFF) << 16) | (low & 0xFFFF)


def dropped(x: torch.Tensor, seed: torch.Tensor | None, p: float) -> torch.Tensor:
    """Drop elements with probability p and scale the others; by PyTorch's own mask where there is no seed."""
    if p == 0.0 or seed is None:
        return torch.nn.functional.dropout(x, p) if p else x
    return x * kept(seed, x.shape, p) * (1.0 / (1.0 - p))
