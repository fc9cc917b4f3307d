"""PK501 allocator-retries: memory is freed and taken again in the step.

What it does:
    Looks for operators in which calls of the runtime freed memory and then
    allocated some: the allocator had found no block, gave back all that it
    had kept, and asked again. PK202 is about allocations without that.

Why it is slow:
    Freeing waits for the device, and everything that was given back has to be
    taken again, block by block, in the steps that follow. It is the last
    thing that happens before a program runs out of memory.

Example:
    # 79 of 80 GB are taken; a batch longer than all before comes
    loss = model(longest_batch)

Fix:
    Need less: a smaller batch, bf16, `torch.utils.checkpoint`. Or lose less:
    `PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True` against fragmentation,
    a few fixed lengths instead of many, the longest batch first.

Fix safety:
    Safe. Results do not change; a smaller batch may change training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.loss import quote
from perfkit.advise.rule import Rule
from perfkit.advise.saving import Saving, timelines
from perfkit.model.prediction import RemoveHostTime
from perfkit.model.quantity import count, duration, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution

__all__ = ["RULE"]


FULL: Final = 0.8
OFTEN: Final = 2


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find operators in which memory was freed and taken again."""
    for timeline in timelines(attribution):
        memory = next((row for row in attribution.signs.memory if row.timeline == timeline.id), None)
        if memory is None or not memory.retries:
            continue
        full = memory.reserved > FULL * memory.capacity > 0
        if memory.retries < OFTEN and not full:  # once, it is a library that sets itself up
            continue
        lost = min(memory.retry_ns, timeline.idle.get("allocation", 0))
        saving = Saving(attribution, timeline, lost, 0, lost, lost)
        if not saving.matters:
            continue
        place = f", longest at {quote(memory.where)}" if memory.where else ""
        taken = f"; {size(memory.reserved)} are reserved at most" if memory.reserved else ""
        yield saving.finding(
            RULE.code,
            RULE.title,
            where=memory.where,
            evidence=(
                f"{count(memory.retries, 'operator')} freed memory and took it again, "
                f"{duration(memory.retry_ns)} in all"
                f"{place}{taken}.",
            ),
            fix="Need less memory, or try `PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True`.",
            safety="safe",
            what_if=(RemoveHostTime("allocation"),),
        )
        return


RULE = Rule(
    code="PK501",
    name="allocator-retries",
    title="The allocator runs out of memory and tries again",
    symptom="waits while memory is freed and taken again",
    thread_symptom="waits while memory is freed and taken again",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
