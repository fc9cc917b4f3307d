"""PK101 loader-starves-device: the device waits for the next batch.

What it does:
    Counts the time in which the device had nothing to do because the thread
    that feeds it was inside the `__next__` of a loader. A loader that works
    in the training process itself is PK103, one that stalls every so many
    batches PK105, one that starts its workers anew PK104.

Why it is slow:
    With workers, batches are made beside the step, and the device waits only
    if the workers together are slower than it is.

Example:
    loader = DataLoader(dataset, batch_size=64, num_workers=1)
    for images, labels in loader:           # one worker, slower than the step
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

from perfkit.advise.loading import fault_of, loader_of, waiting
from perfkit.advise.loss import quote
from perfkit.advise.rule import Rule
from perfkit.model.prediction import OverlapLoader
from perfkit.model.quantity import count, duration, percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution, WorkerTime

__all__ = ["RULE"]


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find time lost to data loading by workers, or by a loader of a kind that is not known."""
    found = fault_of(attribution)
    if found is None or found[0] not in ("workers", "other"):
        return
    fault, loss = found
    loader = loader_of(attribution, loss.timeline.id)
    pace: tuple[str, ...] = ()
    if loader is not None:
        pace = (
            f"{count(loader.calls, 'call')} of {quote(loader.name)}, typically {duration(loader.typical_ns)} each, "
            f"at most {duration(loader.longest_ns)}.",
        )
    title, fix = (
        RULE.title,
        "Prepare the next batch while the device works on this one, in worker processes or a thread.",
    )
    if fault == "workers":
        title = "The data loader's workers do not keep up"
        fix = "Make samples cheaper, or measure other `num_workers` and `prefetch_factor` and keep the fastest."
    pace = (*pace, *worker_side(attribution.worker_time))
    what_if = (OverlapLoader(),)
    finding = loss.finding("PK101", title, evidence=pace or loss.culprits(), fix=fix, safety="check", what_if=what_if)
    yield waiting(attribution, finding)


def worker_side(time: WorkerTime | None) -> tuple[str, ...]:
    """Say what the workers spend on a sample, where they were recorded."""
    if time is None:
        return ()
    collate = f", of which putting it together {duration(time.collate_ns)}" if time.collate_ns else ""
    return (
        f"In {count(time.workers, 'worker')} a sample takes {duration(time.sample_ns)} "
        f"(90 % of them at most {duration(time.sample_p90_ns)}) and a batch {duration(time.batch_ns)}{collate}; they "
        f"are at work {percent(time.working_share)} of the time, and give at most {time.samples_per_s:,.0f} samples/s.",
    )


RULE = Rule(
    code="PK101",
    name="loader-starves-device",
    title="The data loader starves the device",
    symptom="waits for data",
    thread_symptom="waits for data",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
