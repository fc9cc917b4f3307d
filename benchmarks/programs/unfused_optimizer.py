"""Training of a deep, narrow network by an optimizer that visits one parameter after another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from benchmarks.programs.pair import Pair, either, variant

if TYPE_CHECKING:
    from collections.abc import Generator

LAYERS = variant(24, 12, 32, 40)


def _train(device: torch.device, **how: Any) -> Generator[torch.Tensor]:
    width, batch = either(device, cpu=192, cuda=1024), either(device, cpu=256, cuda=1024)
    torch.manual_seed(0)
    blocks = [part for _ in range(LAYERS) for part in (nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())]
    model = nn.Sequential(*blocks).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.001, **how)
    samples = torch.randn(batch, width, device=device)
    targets = torch.randn(batch, width, device=device)
    while True:
        loss = nn.functional.mse_loss(model(samples), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.detach()


def _one_by_one(device: torch.device) -> Generator[torch.Tensor]:
    return _train(device, foreach=False)


def _fused(device: torch.device) -> Generator[torch.Tensor]:
    return _train(device, fused=True)


UNFUSED_OPTIMIZER = Pair(
    name="unfused_optimizer",
    kind="training",
    fault="AdamW updates one parameter after another, by a dozen operators each",
    repair="fused=True",
    rules=dict.fromkeys(("cpu", "cuda"), ("PK311",)),
    faulty=_one_by_one,
    repaired=_fused,
)
