"""Training that asks the device for answers in every step: hard examples by index, a printed loss, a running mean."""

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from traces.record.program import Program, Stopwatch

MICRO_BATCHES = 4
CLASSES = 16
LAYERS = 4
# About what a guess among the classes costs: half of the samples are above it at first.
EASY_LOSS = math.log(CLASSES)
REPORT_EVERY = 100


@dataclass(frozen=True)
class _Job:
    """A classifier, its optimizer and the micro-batches of a step, all on one device."""

    model: nn.Sequential
    optimizer: torch.optim.Optimizer
    samples: list[torch.Tensor]
    classes: list[torch.Tensor]

    def losses(self, index: int) -> torch.Tensor:
        """Return the loss of each sample of one micro-batch, float32 [batch]."""
        scores = self.model(self.samples[index])
        return nn.functional.cross_entropy(scores, self.classes[index], reduction="none")


def _prepare(device: torch.device) -> _Job:
    # Kernels about as long as their dispatch: there a wait hurts most, since neither side is hidden by the other.
    width, batch = (1024, 512) if device.type == "cuda" else (256, 128)
    torch.manual_seed(0)
    hidden = [layer for _ in range(LAYERS) for layer in (nn.Linear(width, width), nn.ReLU())]
    model = nn.Sequential(*hidden, nn.Linear(width, CLASSES)).to(device)
    return _Job(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.001),
        samples=[torch.randn(batch, width, device=device) for _ in range(MICRO_BATCHES)],
        classes=[torch.randint(0, CLASSES, (batch,), device=device) for _ in range(MICRO_BATCHES)],
    )


def _train_asking(device: torch.device, fault: Stopwatch) -> Iterator[None]:
    job, journal = _prepare(device), io.StringIO()
    while True:
        mean_loss = 0.0
        for index in range(MICRO_BATCHES):
            losses = job.losses(index)
            with fault:
                hard = torch.nonzero(losses > EASY_LOSS)
            loss = losses[hard].sum() / max(len(hard), 1)
            loss.backward()
            with fault:
                mean_loss += loss.item() / MICRO_BATCHES
        job.optimizer.step()
        job.optimizer.zero_grad()
        with fault:
            journal.write(f"last loss {loss}, mean {mean_loss}\n")
        yield


def _train_ahead(device: torch.device, _: Stopwatch) -> Iterator[None]:
    job, journal = _prepare(device), io.StringIO()
    mean_losses: list[torch.Tensor] = []
    while True:
        mean_loss = torch.zeros((), device=device)
        for index in range(MICRO_BATCHES):
            losses = job.losses(index)
            hard = losses > EASY_LOSS
            loss = (losses * hard).sum() / hard.sum().clamp(min=1)
            loss.backward()
            mean_loss += loss.detach() / MICRO_BATCHES
        job.optimizer.step()
        job.optimizer.zero_grad()
        mean_losses.append(mean_loss)
        if len(mean_losses) == REPORT_EVERY:
            journal.write(f"mean losses {torch.stack(mean_losses).tolist()}\n")
            mean_losses.clear()
        yield


SYNC_BOUND = Program(
    name="sync_bound",
    source="traces/record/sync_bound.py",
    shows="The host waits for the device at nonzero(), item() and a printed loss; then the device waits for the host.",
    shows_on_cpu=(
        "Where nonzero(), item() and a printed loss are called. On a CPU an operator is done when it returns: item() "
        "waits for nothing: it would be wrong to blame a large share of this trace on synchronization."
    ),
    fault="nonzero(), item() and printing the loss",
    steps=_train_asking,
    repaired=_train_ahead,
    with_stack=True,
)
