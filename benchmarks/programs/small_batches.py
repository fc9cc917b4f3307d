"""Training in micro-batches far smaller than memory asks for, whose gradients are added up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from benchmarks.programs.pair import Pair, either, variant

if TYPE_CHECKING:
    from collections.abc import Generator

LAYERS, PARTS = variant(4, 6, 3, 5), variant(16, 8, 32, 8)


def _train(device: torch.device, *, parts: int) -> Generator[torch.Tensor]:
    batch, width = either(device, cpu=128, cuda=2048), either(device, cpu=768, cuda=2048)
    torch.manual_seed(0)
    layers = [part for _ in range(LAYERS) for part in (nn.Linear(width, width), nn.ReLU())]
    model = nn.Sequential(*layers).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    samples = torch.randn(batch, width, device=device)
    targets = torch.randn(batch, width, device=device)
    while True:
        total = torch.zeros((), device=device)
        for some, wanted in zip(samples.chunk(parts), targets.chunk(parts), strict=True):
            loss = nn.functional.mse_loss(model(some), wanted) / parts
            loss.backward()
            total += loss.detach()
        optimizer.step()
        optimizer.zero_grad()
        yield total


def _in_parts(device: torch.device) -> Generator[torch.Tensor]:
    return _train(device, parts=PARTS)


def _at_once(device: torch.device) -> Generator[torch.Tensor]:
    return _train(device, parts=1)


SMALL_BATCHES = Pair(
    name="small_batches",
    kind="training",
    fault=f"a batch is trained on in {PARTS} parts",
    repair="the whole batch at once",
    rules=dict.fromkeys(("cpu", "cuda"), ("PK401",)),
    faulty=_in_parts,
    repaired=_at_once,
)
