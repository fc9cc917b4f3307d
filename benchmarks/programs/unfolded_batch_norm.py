"""Serving a convolutional network with its batch norms as they were trained: one more pass over every activation."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from benchmarks.programs.pair import Pair, either, variant

if TYPE_CHECKING:
    from collections.abc import Generator

BLOCKS = variant(4, 6, 3, 8)


def _serve(device: torch.device, *, folded: bool) -> Generator[torch.Tensor]:
    channels, edge, batch = either(device, cpu=48, cuda=256), 56, either(device, cpu=4, cuda=64)
    torch.manual_seed(0)
    parts: list[torch.nn.Module] = []
    for _ in range(BLOCKS):
        for convolution in (
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, groups=channels, bias=False),
            nn.Conv2d(channels, channels, kernel_size=1, bias=False),
        ):
            norm = nn.BatchNorm2d(channels)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.running_var, 0.1, 0.5)
            parts += [convolution, norm, nn.ReLU(inplace=True)]
    model = nn.Sequential(*parts).eval()
    if folded:
        pairs = zip(parts[::3], parts[1::3], strict=True)
        model = nn.Sequential(*[part for pair in pairs for part in (fuse_conv_bn_eval(*pair), nn.ReLU(inplace=True))])
    model = model.to(device)
    images = torch.randn(batch, channels, edge, edge, device=device)
    while True:
        with torch.inference_mode():
            answers = model(images)
        yield answers


UNFOLDED_BATCH_NORM = Pair(
    name="unfolded_batch_norm",
    kind="serving",
    fault="batch norms follow their convolutions as operators of their own",
    repair="they are folded into the convolutions' weights",
    rules=dict.fromkeys(("cpu", "cuda"), ("PK313",)),
    faulty=functools.partial(_serve, folded=False),
    repaired=functools.partial(_serve, folded=True),
)
