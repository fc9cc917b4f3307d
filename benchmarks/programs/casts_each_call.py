"""Serving a model that is stored in half precision and cast to single precision in each call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from benchmarks.programs.pair import Pair, either, variant

if TYPE_CHECKING:
    from collections.abc import Generator

LAYERS = variant(4, 6, 2, 8)


def _serve(device: torch.device, *, cast_each_call: bool) -> Generator[torch.Tensor]:
    batch, width = either(device, cpu=64, cuda=512), either(device, cpu=1024, cuda=4096)
    torch.manual_seed(0)
    stored = [(torch.randn(width, width, device=device) / width**0.5).half() for _ in range(LAYERS)]
    weights = stored if cast_each_call else [weight.float() for weight in stored]
    request = torch.randn(batch, width, device=device)
    while True:
        with torch.inference_mode():
            hidden = request
            for weight in weights:
                hidden = torch.relu(nn.functional.linear(hidden, weight.to(hidden.dtype)))
        yield hidden


def _casting(device: torch.device) -> Generator[torch.Tensor]:
    return _serve(device, cast_each_call=True)


def _cast_before(device: torch.device) -> Generator[torch.Tensor]:
    return _serve(device, cast_each_call=False)


CASTS_EACH_CALL = Pair(
    name="casts_each_call",
    kind="serving",
    fault="weights are cast from half to single precision in each call",
    repair="they are cast once, when the model is loaded",
    rules=dict.fromkeys(("cpu", "cuda"), ("PK315",)),
    faulty=_casting,
    repaired=_cast_before,
)
