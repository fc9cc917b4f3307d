"""Image training whose batches come late: loaded in the step, by too few workers, or by workers started anew."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.programs.pair import Pair, either, variant
from traces.record.loader_bound import StoredImages, classifier

if TYPE_CHECKING:
    from collections.abc import Generator

EPOCH_STEPS = variant(6, 4, 10, 8)
LONG_EPOCH_STEPS = 1000
# What a sample waits for its store: a disk elsewhere, or a cache nearby.
REMOTE_S, NEAR_S = variant(0.004, 0.002, 0.008, 0.003), variant(0.0, 0.0, 0.0005, 0.0)
WORKERS = variant(4, 3, 6, 2)


def _train(
    device: torch.device, *, workers: int, persistent: bool = True, epoch_steps: int, latency_s: float
) -> Generator[torch.Tensor]:
    on_gpu = device.type == "cuda"
    torch.manual_seed(0)
    model = classifier(either(device, cpu=20, cuda=640)).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    batch = 16
    loader = DataLoader(
        StoredImages(samples=batch * epoch_steps, latency_s=latency_s),
        batch_size=batch,
        num_workers=workers,
        persistent_workers=persistent and workers > 0,
        pin_memory=on_gpu,
    )
    while True:
        for images, classes in loader:
            scores = model(images.to(device, non_blocking=True))
            loss = nn.functional.cross_entropy(scores, classes.to(device, non_blocking=True))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield loss.detach()


_remote = functools.partial(_train, epoch_steps=LONG_EPOCH_STEPS, latency_s=REMOTE_S)
_near = functools.partial(_train, epoch_steps=EPOCH_STEPS, latency_s=NEAR_S)

LOADER_IN_PROCESS = Pair(
    name="loader_in_process",
    kind="training",
    fault="each batch is read and decoded by the training process itself (num_workers=0)",
    repair=f"num_workers={WORKERS}",
    rules=dict.fromkeys(("cpu", "cuda"), ("PK103",)),
    faulty=functools.partial(_remote, workers=0),
    repaired=functools.partial(_remote, workers=WORKERS),
    settling_steps=8,
    with_stack=True,
)

STARVED_WORKERS = Pair(
    name="starved_workers",
    kind="training",
    fault="one worker reads a batch more slowly than the model trains on it",
    repair=f"num_workers={WORKERS}",
    rules=dict.fromkeys(("cpu", "cuda"), ("PK101",)),
    faulty=functools.partial(_remote, workers=1),
    repaired=functools.partial(_remote, workers=WORKERS),
    settling_steps=8,
    with_stack=True,
)

RESTARTED_WORKERS = Pair(
    name="restarted_workers",
    kind="training",
    fault="workers are started anew in each short epoch",
    repair="persistent_workers=True",
    rules=dict.fromkeys(("cpu", "cuda"), ("PK104",)),
    faulty=functools.partial(_near, workers=2, persistent=False),
    repaired=functools.partial(_near, workers=2),
    period=EPOCH_STEPS,
    settling_steps=EPOCH_STEPS,
    with_stack=True,
)
