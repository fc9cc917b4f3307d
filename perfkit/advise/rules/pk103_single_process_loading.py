"""PK103 single-process-loading: batches are made between two steps.

What it does:
    Counts the time in which the device had nothing to do because the thread
    that feeds it was reading, decoding and collating a batch itself:
    `_SingleProcessDataLoaderIter.__next__`, which is `num_workers=0`.

Why it is slow:
    Loading and computing take turns, so the step is as long as both
    together. With workers they happen side by side, and the step is as long
    as the longer of the two.

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
    than with none.

Fix safety:
    Check. Each worker has its own random state, and a dataset that keeps
    state or open files is copied into each of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.advise.loading import beside, loader_of, lost_by
from perfkit.advise.rule import Rule
from perfkit.model.prediction import OverlapLoader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution

__all__ = ["RULE"]


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find time lost to a loader that works in the training process."""
    loss = lost_by(attribution, "in_process")
    if loss is None:
        return
    loader = loader_of(attribution, loss.timeline.id)
    computes = 1 - loader.idling_ns / loader.ns if loader and loader.ns else 1.0
    finding = loss.finding(
        RULE.code,
        RULE.title,
        evidence=loss.culprits(),
        fix="Load in worker processes: `num_workers` above 0 and `persistent_workers=True`; measure several counts.",
        safety="check",
        what_if=(OverlapLoader(computes=computes),),
    )
    yield beside(attribution, finding)


RULE = Rule(
    code="PK103",
    name="single-process-loading",
    title="The data loader works in the training process",
    symptom="waits for data",
    thread_symptom="waits for data",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
