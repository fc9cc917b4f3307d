"""PK105 in-order-stalls: one slow batch holds up those that are ready.

What it does:
    Looks at how long each `__next__` of a loader with workers took. Speaks up
    when most of the waiting is in single calls that come at regular
    intervals, with ready batches between them.

Why it is slow:
    Batches are handed over in order. With W workers that are together just
    too slow, the step waits for one batch, finds the next W - 1 ready, and
    waits again. The same happens when some samples are far more expensive
    than the others.

Example:
    loader = DataLoader(dataset, num_workers=4)
    # __next__: 180 ms, 1 ms, 1 ms, 1 ms, 175 ms, 1 ms, ...

Fix:
    The workers are at capacity: more of them where cores are free, or a
    cheaper sample. Where it is a few samples that are slow, a larger
    `prefetch_factor` evens them out, and `in_order=False` lets the others
    pass.

Fix safety:
    Check. `in_order=False` changes the order of batches from run to run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.advise.loading import loader_of, lost_by, waiting
from perfkit.advise.rule import Rule
from perfkit.model.prediction import OverlapLoader
from perfkit.model.quantity import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution

__all__ = ["RULE"]


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find stalls of a loader that come at regular intervals."""
    loss = lost_by(attribution, "in_order")
    if loss is None:
        return
    loader = loader_of(attribution, loss.timeline.id)
    assert loader is not None
    finding = loss.finding(
        RULE.code,
        RULE.title,
        evidence=(
            f"One call in {loader.period} takes up to {duration(loader.longest_ns)}, the others "
            f"{duration(loader.typical_ns)}: {loader.stalled} of {loader.calls} stall.",
        ),
        fix="More workers or cheaper samples; for a few slow samples a larger `prefetch_factor` or `in_order=False`.",
        safety="check",
        what_if=(OverlapLoader(),),
    )
    yield waiting(attribution, finding)


RULE = Rule(
    code="PK105",
    name="in-order-stalls",
    title="Every so often a batch is late, and all wait for it",
    symptom="waits for batches that come in order",
    thread_symptom="waits for batches that come in order",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
