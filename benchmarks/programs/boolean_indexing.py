"""Training with a centre for each class, found by boolean indexing: a GPU is asked how many rows there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from benchmarks.programs.pair import Pair, either, variant

if TYPE_CHECKING:
    from collections.abc import Generator

CLASSES = variant(200, 100, 300, 60)


def _train(device: torch.device, *, indexing: bool) -> Generator[torch.Tensor]:
    width, batch = either(device, cpu=512, cuda=2048), either(device, cpu=512, cuda=4096)
    torch.manual_seed(0)
    model = nn.Sequential(*[layer for _ in range(3) for layer in (nn.Linear(width, width), nn.ReLU())]).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    samples = torch.randn(batch, width, device=device)
    classes = torch.arange(batch, device=device) % CLASSES
    members = nn.functional.one_hot(classes, CLASSES).float()
    shares = (members / members.sum(0)).T.contiguous()
    while True:
        features = model(samples)
        with torch.no_grad():
            if indexing:
                centres = torch.stack([features[classes == each].mean(0) for each in range(CLASSES)])
            else:
                centres = shares @ features
        loss = nn.functional.mse_loss(features, centres[classes])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield centres.detach()


def _by_index(device: torch.device) -> Generator[torch.Tensor]:
    return _train(device, indexing=True)


def _by_product(device: torch.device) -> Generator[torch.Tensor]:
    return _train(device, indexing=False)


BOOLEAN_INDEXING = Pair(
    name="boolean_indexing",
    kind="training",
    fault="the mean of each class is taken of features[classes == each], class by class",
    repair="one product with a matrix of who belongs where",
    rules={"cuda": ("PK201",), "cpu": ("PK201", "PK301")},
    faulty=_by_index,
    repaired=_by_product,
)
