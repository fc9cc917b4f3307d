"""PK104 workers-start-each-epoch: an iterator with new workers each epoch.

What it does:
    Finds where a new iterator of a `DataLoader` with workers was made within
    the window (it draws a seed for them), and counts the time from there to
    its first batch, beyond what a batch typically takes, and what ending the
    workers before took; or by how much such steps are longer than others.

Why it is slow:
    Starting a worker copies or forks the process, sends it the dataset, and
    may import everything again; then the first batches are made while
    everybody waits. A process that was forked is slow for a while, too: its
    memory is shared, and copied page by page as it is written to. A long epoch
    does not feel it. In short epochs, or with a validation in between, it is
    paid again and again.

Example:
    loader = DataLoader(dataset, num_workers=8)
    for epoch in range(1000):
        for batch in loader:            # eight new processes, each time
            step(batch)

Fix:
    loader = DataLoader(dataset, num_workers=8, persistent_workers=True)

    Or make epochs longer: repeat the dataset in the sampler.

Fix safety:
    Check. Workers that stay keep their copy of the dataset: what the main
    process changes in it between epochs does not reach them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.rule import Rule
from perfkit.advise.saving import Saving, timelines
from perfkit.model.quantity import count, duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution

__all__ = ["RULE"]

STILL_SLOWER: Final = 0.1
"""Part of all that a program computes which it saves at most: with workers that were started in the same epoch a
training step takes 37 ms, and 33 with those that stay (two virtual cores of an Intel Xeon, medians of twelve)."""


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find time lost to workers that are started anew."""
    for timeline in timelines(attribution):
        loaders = [row for row in attribution.signs.loaders if row.timeline == timeline.id and row.kind == "workers"]
        loader = max(loaders, key=lambda row: row.startup_ns, default=None)
        if loader is None or not loader.epochs:
            continue
        # What remains when they stay: their first batches, which are made no sooner. A process that was copied is slow
        # for a while, because it shares its memory until it writes to it: such a step is longer by more than starting.
        making, total = loader.making_ns, max(loader.startup_ns, loader.longer_ns)
        first, longer = loader.startup_ns - making, total - loader.startup_ns
        slower = 0.0 if timeline.kind == "device" else STILL_SLOWER * timeline.busy.get("compute", 0)
        least = min(0.9 * making + longer / 2, total - first)
        saving = Saving(attribution, timeline, total, least, total - first, total + slower)
        if not saving.matters:
            continue
        yield saving.finding(
            RULE.code,
            RULE.title,
            where=next((row.where for row in attribution.blame if row.event == loader.name and row.where), loader.name),
            evidence=(
                f"{count(loader.epochs, 'new iterator')} within the window: making it took "
                f"{duration(making / loader.epochs)}, and {duration(total / loader.epochs)} until its first batch.",
            ),
            fix="`DataLoader(..., persistent_workers=True)`.",
            safety="check",
            records=loader.records,
        )
        return


RULE = Rule(
    code="PK104",
    name="workers-start-each-epoch",
    title="Workers of the loader start anew in each epoch",
    symptom="waits for workers to start",
    thread_symptom="waits for workers to start",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
