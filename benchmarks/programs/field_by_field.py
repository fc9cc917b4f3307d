"""Serving a recommender that treats its fields one after another: hundreds of operators too small to matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from benchmarks.programs.pair import Pair, either, variant

if TYPE_CHECKING:
    from collections.abc import Generator

FIELDS, FIELD_WIDTH = variant(256, 128, 384, 64), 32


def _serve(device: torch.device, *, batched: bool) -> Generator[torch.Tensor]:
    batch, top = either(device, cpu=32, cuda=2048), either(device, cpu=768, cuda=2048)
    torch.manual_seed(0)
    weights = torch.randn(FIELDS, FIELD_WIDTH, FIELD_WIDTH, device=device) / FIELD_WIDTH
    biases = torch.randn(FIELDS, 1, FIELD_WIDTH, device=device)
    head = nn.Sequential(nn.Linear(FIELDS * FIELD_WIDTH, top), nn.ReLU(), nn.Linear(top, 1)).to(device)
    request = torch.randn(FIELDS, batch, FIELD_WIDTH, device=device)
    while True:
        with torch.inference_mode():
            if batched:
                fields = torch.relu(torch.baddbmm(biases, request, weights))
            else:
                each = zip(biases, request, weights, strict=True)
                fields = torch.stack([torch.relu(torch.addmm(bias, values, weight)) for bias, values, weight in each])
            answers = head(fields.transpose(0, 1).reshape(batch, -1))
        yield answers


def _one_by_one(device: torch.device) -> Generator[torch.Tensor]:
    return _serve(device, batched=False)


def _at_once(device: torch.device) -> Generator[torch.Tensor]:
    return _serve(device, batched=True)


FIELD_BY_FIELD = Pair(
    name="field_by_field",
    kind="serving",
    fault="a small layer for each of 256 fields, one after another",
    repair="one batched product",
    rules=dict.fromkeys(("cpu", "cuda"), ("PK301",)),
    faulty=_one_by_one,
    repaired=_at_once,
)
