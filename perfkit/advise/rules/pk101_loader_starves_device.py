"""PK101 loader-starves-device: the device waits for the next batch.

What it does:
    Counts the time in which the device had nothing to do because the thread
    that feeds it was inside the `__next__` of a `DataLoader`. The name of
    that event tells a loader that works in the training process from one with
    worker processes.

Why it is slow:
    In the training process, reading, decoding and collating a batch happen
    between two steps, one after the other. With workers they happen beside
    the step, and the device waits only if the workers together are slower
    than it is, or if they are started anew in each epoch.

Example:
    loader = DataLoader(dataset, batch_size=64)     # num_workers=0
    for images, labels in loader:                   # waits for every batch
        step(images, labels)

Fix:
    loader = DataLoader(dataset, batch_size=64, pin_memory=True,
                        num_workers=4, persistent_workers=True)

    Try several counts of workers and keep the fastest. The number of cores is
    often the wrong answer: samples that wait for storage want more workers
    than cores, samples that are already in memory are slower with any worker
    than with none. Where workers cannot keep up, make a sample cheaper:
    decode less, resize beforehand, store larger shards.

Fix safety:
    Check. Each worker has its own random state, and a dataset that keeps
    state or open files is copied into each of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.advise.loss import largest_loss
from perfkit.advise.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.advise.loss import Loss
    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution

__all__ = ["RULE"]


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find time lost to data loading, and tell which kind of loader it is."""
    loss = largest_loss(attribution, ("data_loading",))
    if loss is None:
        return
    title, fix = describe(loss)
    yield loss.finding("PK101", title, evidence=loss.culprits(), fix=fix, safety="check")


def describe(loss: Loss) -> tuple[str, str]:
    """Return title and fix for the kind of loader that most of the loss is owed to."""
    event = next((row.event for row in loss.blame()), "")
    if "SingleProcess" in event:
        return (
            "The data loader works in the training process",
            "Load in worker processes: `num_workers` above 0 and `persistent_workers=True`; measure several counts.",
        )
    if "MultiProcess" in event:
        return (
            "The data loader's workers do not keep up",
            "Make samples cheaper, or measure other `num_workers` and `prefetch_factor` and keep the fastest.",
        )
    return RULE.title, "Prepare the next batch while the device works on this one, in worker processes or a thread."


RULE = Rule(
    code="PK101",
    name="loader-starves-device",
    title="The data loader starves the device",
    symptom="waits for data",
    thread_symptom="waits for data",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
