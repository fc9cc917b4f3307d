"""PK503 memory-nearly-full: the next larger batch will not fit.

What it does:
    Compares the most memory that was allocated on a device with what it has,
    where the trace has memory (`profile_memory=True`).

Why it is slow:
    It is not, until the allocator has to free and take again (PK501). But
    one batch that is longer than all before ends the program.

Example:
    loss = model(batch)     # 78 of 80 GB at the end of the forward pass

Fix:
    `torch.utils.checkpoint`, bf16, a fused loss that does not keep the
    logits, gradients accumulated over smaller batches, or sharded optimizer
    state.

Fix safety:
    Check. What is computed anew takes time; smaller types round more.
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

FULL: Final = 0.92


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find a device that is nearly full."""
    for timeline in timelines(attribution):
        memory = next((row for row in attribution.signs.memory if row.timeline == timeline.id), None)
        if memory is None or not memory.capacity or memory.allocated < FULL * memory.capacity:
            continue
        yield Saving(attribution, timeline, 0, 0, 0, 0).finding(
            RULE.code,
            RULE.title,
            where="",
            evidence=(
                f"{size(memory.allocated)} of {size(memory.capacity)} are allocated at the most: "
                f"{percent(memory.allocated, memory.capacity)}.",
            ),
            fix="Keep fewer activations (`torch.utils.checkpoint`), smaller types or smaller batches.",
            safety="check",
        )
        return


RULE = Rule(
    code="PK503",
    name="memory-nearly-full",
    title="The device's memory is nearly full",
    symptom="has hardly any memory left",
    thread_symptom="has hardly any memory left",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
