"""PK202 allocation-in-steady-state: the device waits for the allocator.

What it does:
    Counts the time in which a device was idle while the thread that feeds it
    was inside a call that allocates, frees or registers memory (`cudaMalloc`,
    `cudaFree`, `cudaHostAlloc` and their kin).

Why it is slow:
    These calls take from ten microseconds to many milliseconds, and freeing
    waits for the device. PyTorch keeps freed blocks for reuse, so a loop in
    steady state makes none of them. Where it does, sizes change from step to
    step, memory is nearly full (the allocator frees its cache and tries
    again), or the cache is emptied by hand.

Example:
    for batch in loader:            # every batch has another length
        step(batch)
        torch.cuda.empty_cache()    # the next step asks for it again

Fix:
    Drop `empty_cache()`, pad to a few fixed lengths, run the longest batch
    first, or set `PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True`. The
    first steps of a program do allocate: leave them out of the recording with
    a warm-up.

Fix safety:
    Safe. Results do not change; the memory held may.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.advise.loss import largest_loss
from perfkit.advise.rule import Rule
from perfkit.advise.rules import pk501_allocator_retries
from perfkit.model.prediction import RemoveHostTime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution

__all__ = ["RULE"]


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find time lost to calls that allocate or free memory."""
    loss = largest_loss(attribution, ("allocation",))
    if loss is None:
        return
    memory = next((row for row in attribution.signs.memory if row.timeline == loss.timeline.id), None)
    retried = memory is not None and 2 * memory.retry_ns > loss.ns
    if retried and any(pk501_allocator_retries.evaluate(attribution)):
        return
    yield loss.finding(
        "PK202",
        RULE.title,
        evidence=loss.culprits(),
        fix="Keep sizes fixed, drop `empty_cache()`, try `expandable_segments:True`; record after a warm-up.",
        safety="safe",
        what_if=(RemoveHostTime("allocation"),),
    )


RULE = Rule(
    code="PK202",
    name="allocation-in-steady-state",
    title="Memory is allocated or freed inside the window",
    symptom="waits for memory to be allocated",
    thread_symptom="waits for memory to be allocated",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
