"""Training a feed-forward block whose normalisation and activation are written out, one pointwise operator each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from benchmarks.programs.pair import Pair, either, variant

if TYPE_CHECKING:
    from collections.abc import Generator

LAYERS = variant(2, 3, 1, 4)


def _norm(values: torch.Tensor) -> torch.Tensor:
    centred = values - values.mean(-1, keepdim=True)
    return centred / torch.sqrt((centred * centred).mean(-1, keepdim=True) + 1e-5)


def _gelu(values: torch.Tensor) -> torch.Tensor:
    inner = math.sqrt(2 / math.pi) * (values + 0.044715 * values**3)
    return 0.5 * values * (1 + torch.tanh(inner))


def _train(device: torch.device, *, by_hand: bool) -> Generator[torch.Tensor]:
    width, batch = either(device, cpu=384, cuda=2048), either(device, cpu=1024, cuda=8192)
    torch.manual_seed(0)
    layers = [nn.Linear(width, width).to(device) for _ in range(LAYERS)]
    optimizer = torch.optim.SGD([weights for layer in layers for weights in layer.parameters()], lr=0.01)
    samples = torch.randn(batch, width, device=device)
    while True:
        hidden = samples
        for layer in layers:
            if by_hand:
                hidden = hidden + _gelu(layer(_norm(hidden)))
            else:
                normed = nn.functional.layer_norm(hidden, (width,))
                hidden = hidden + nn.functional.gelu(layer(normed), approximate="tanh")
        loss = nn.functional.mse_loss(hidden, samples)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.detach()


def _written_out(device: torch.device) -> Generator[torch.Tensor]:
    return _train(device, by_hand=True)


def _native(device: torch.device) -> Generator[torch.Tensor]:
    return _train(device, by_hand=False)


NORM_WRITTEN_OUT = Pair(
    name="norm_written_out",
    kind="training",
    fault="layer norm and GELU as a dozen pointwise operators",
    repair="layer_norm and gelu",
    rules=dict.fromkeys(("cpu", "cuda"), ("PK308",)),
    faulty=_written_out,
    repaired=_native,
)
