"""Training of a language model that counts the tokens it has seen, in a loop in Python within the step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from benchmarks.programs.pair import Pair, either

if TYPE_CHECKING:
    from collections.abc import Generator

VOCABULARY = 1000


def _train(device: torch.device, *, in_python: bool) -> Generator[torch.Tensor]:
    tokens, width = either(device, cpu=16384, cuda=65536), either(device, cpu=64, cuda=512)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(VOCABULARY, width), nn.Linear(width, width), nn.GELU()).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    text = torch.randint(0, VOCABULARY, (tokens,))
    listed, counted = text.tolist(), torch.bincount(text, minlength=VOCABULARY)
    text = text.to(device)
    seen = dict.fromkeys(range(VOCABULARY), 0)
    totals = torch.zeros(VOCABULARY, dtype=torch.int64)
    while True:
        hidden = model(text)
        loss = nn.functional.mse_loss(hidden[:-1], hidden[1:].detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if in_python:
            for token in listed:
                seen[token] = seen.get(token, 0) + 1
            yield torch.tensor(list(seen.values()))
        else:
            totals += counted
            yield totals.clone()


def _counting(device: torch.device) -> Generator[torch.Tensor]:
    return _train(device, in_python=True)


def _counted(device: torch.device) -> Generator[torch.Tensor]:
    return _train(device, in_python=False)


PYTHON_BOOKKEEPING = Pair(
    name="python_bookkeeping",
    kind="training",
    fault="tokens are counted one by one in a Python dictionary within the step",
    repair="a batch's counts, made beforehand, are added by one operator",
    rules=dict.fromkeys(("cpu", "cuda"), ("PK304",)),
    faulty=_counting,
    repaired=_counted,
)
