"""Training that counts its right answers in Python, reading one number at a time from the device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from benchmarks.programs.pair import Pair, either, variant

if TYPE_CHECKING:
    from collections.abc import Generator

CLASSES = 16


def _train(device: torch.device, *, reading: bool) -> Generator[torch.Tensor]:
    width, batch = either(device, cpu=384, cuda=4096), variant(512, 256, 1024, 192)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()).to(device)
    head = nn.Linear(width, CLASSES).to(device)
    optimizer = torch.optim.SGD([*model.parameters(), *head.parameters()], lr=0.01)
    samples = torch.randn(batch, width, device=device)
    classes = torch.randint(0, CLASSES, (batch,), device=device)
    right = torch.zeros((), device=device, dtype=torch.int64)
    while True:
        scores = head(model(samples))
        loss = nn.functional.cross_entropy(scores, classes)
        guesses = scores.argmax(dim=1)
        if reading:
            right += sum(guess.item() == known.item() for guess, known in zip(guesses, classes, strict=True))
        else:
            right += (guesses == classes).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield right.clone()


def _reading(device: torch.device) -> Generator[torch.Tensor]:
    return _train(device, reading=True)


def _counting_on_device(device: torch.device) -> Generator[torch.Tensor]:
    return _train(device, reading=False)


ITEM_PER_SAMPLE = Pair(
    name="item_per_sample",
    kind="training",
    fault="right answers are counted in Python, with .item() for each sample",
    repair="they are counted by one sum on the device",
    rules={"cuda": ("PK201",), "cpu": ("PK201", "PK301")},
    faulty=_reading,
    repaired=_counting_on_device,
)
