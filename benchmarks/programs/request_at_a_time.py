"""Serving that answers each request by a call of its own, though others wait: all weights are read for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from benchmarks.programs.pair import Pair, either, variant

if TYPE_CHECKING:
    from collections.abc import Generator

LAYERS, WAITING = variant(4, 3, 6, 8), variant(16, 8, 24, 4)


def _serve(device: torch.device, *, at_once: int) -> Generator[torch.Tensor]:
    width = either(device, cpu=1536, cuda=4096)
    torch.manual_seed(0)
    layers = [part for _ in range(LAYERS) for part in (nn.Linear(width, width), nn.ReLU())]
    model = nn.Sequential(*layers).to(device)
    requests = torch.randn(WAITING, width, device=device)
    while True:
        for some in requests.split(at_once):
            with torch.inference_mode():
                answers = model(some)
            yield answers


def _one(device: torch.device) -> Generator[torch.Tensor]:
    return _serve(device, at_once=1)


def _all(device: torch.device) -> Generator[torch.Tensor]:
    return _serve(device, at_once=WAITING)


REQUEST_AT_A_TIME = Pair(
    name="request_at_a_time",
    kind="serving",
    fault=f"each of {WAITING} waiting requests is answered by a call of its own",
    repair="one call for all of them",
    rules=dict.fromkeys(("cpu", "cuda"), ("PK402",)),
    faulty=_one,
    repaired=_all,
    items={"faulty": 1, "repaired": WAITING},
)
