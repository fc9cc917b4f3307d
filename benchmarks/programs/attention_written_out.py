"""Serving an encoder whose attention is written out: the matrix of scores goes through memory several times."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from benchmarks.programs.pair import Pair, either, variant

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Attention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]

LAYERS, HEADS = variant(2, 1, 3, 4), variant(8, 4, 16, 4)


def _written_out(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    return torch.softmax(scores, dim=-1) @ value


def _serve(device: torch.device, attend: Attention) -> Generator[torch.Tensor]:
    batch, tokens, width = 1, either(device, cpu=768, cuda=4096), either(device, cpu=256, cuda=1024)
    torch.manual_seed(0)
    into = [nn.Linear(width, 3 * width).to(device) for _ in range(LAYERS)]
    out = [nn.Linear(width, width).to(device) for _ in range(LAYERS)]
    request = torch.randn(batch, tokens, width, device=device)
    while True:
        with torch.inference_mode():
            hidden = request
            for project, collect in zip(into, out, strict=True):
                heads = project(hidden).view(batch, tokens, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
                mixed = attend(*heads.unbind(0)).transpose(1, 2).reshape(batch, tokens, width)
                hidden = hidden + collect(mixed)
        yield hidden


def _by_hand(device: torch.device) -> Generator[torch.Tensor]:
    return _serve(device, _written_out)


def _in_one(device: torch.device) -> Generator[torch.Tensor]:
    return _serve(device, nn.functional.scaled_dot_product_attention)


ATTENTION_WRITTEN_OUT = Pair(
    name="attention_written_out",
    kind="serving",
    fault="attention as two products and a softmax",
    repair="scaled_dot_product_attention",
    rules=dict.fromkeys(("cpu", "cuda"), ("PK309",)),
    faulty=_by_hand,
    repaired=_in_one,
)
