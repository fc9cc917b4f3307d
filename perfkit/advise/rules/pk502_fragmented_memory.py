"""PK502 fragmented-memory: far more memory is held than is used.

What it does:
    Compares the most that was reserved on a device with the most that was
    allocated, where the trace has memory (`profile_memory=True`). Speaks up
    when a quarter or more of what is held is not used and most of the
    device is taken.

Why it is slow:
    It need not be, yet. Blocks that were made for one size do not fit
    another, so the allocator takes more; when the device is full it gives
    everything back and begins anew (PK501), or fails although enough is
    free.

Example:
    for batch in loader:            # every batch has another length
        step(batch)

Fix:
    PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True python train.py

    Or make sizes repeat: pad to a few fixed lengths, run the longest first.

Fix safety:
    Safe. Results do not change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.rule import Rule
from perfkit.advise.saving import Saving, timelines
from perfkit.model.quantity import percent, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution

__all__ = ["RULE"]

LOOSE: Final = 0.25
TAKEN: Final = 0.6


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find a device of which much is held and not used."""
    for timeline in timelines(attribution):
        memory = next((row for row in attribution.signs.memory if row.timeline == timeline.id), None)
        if memory is None or not memory.capacity or memory.reserved < TAKEN * memory.capacity:
            continue
        loose = memory.reserved - memory.allocated
        if not memory.allocated or loose < LOOSE * memory.reserved:
            continue
        yield Saving(attribution, timeline, 0, 0, 0, 0).finding(
            RULE.code,
            RULE.title,
            where="",
            evidence=(
                f"{size(memory.reserved)} of {size(memory.capacity)} are reserved, at most {size(memory.allocated)} "
                f"of it is in use: {percent(loose, memory.reserved)} is not.",
            ),
            fix="`PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True`, or fewer different sizes.",
            safety="safe",
        )
        return


RULE = Rule(
    code="PK502",
    name="fragmented-memory",
    title="Much of the memory that is held is in pieces",
    symptom="holds memory in pieces",
    thread_symptom="holds memory in pieces",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
