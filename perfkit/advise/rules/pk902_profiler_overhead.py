"""PK902 profiler-overhead: the device waits for the profiler.

What it does:
    Counts the time in which a device was idle while the profiler was flushing
    or growing its own buffers on the thread that feeds it.

Why it is slow:
    It is the price of the recording, and the program without a profiler does
    not pay it. Where it is large, the other numbers are distorted as well:
    everything that records many events looks slower than it is.

Example:
    with profile(with_stack=True, record_shapes=True, profile_memory=True):
        train(model, steps=500)

Fix:
    Record a few steps after a warm-up, and only what is needed: stacks,
    shapes and memory in recordings of their own.

Fix safety:
    Safe. Nothing but the recording changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.advise.loss import largest_loss
from perfkit.advise.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution

__all__ = ["RULE"]


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find time lost to the profiler itself."""
    loss = largest_loss(attribution, ("profiler_overhead",))
    if loss is None:
        return
    yield loss.finding(
        "PK902",
        RULE.title,
        evidence=loss.culprits(),
        fix="Record fewer steps, and stacks, shapes and memory one at a time.",
        safety="safe",
    )


RULE = Rule(
    code="PK902",
    name="profiler-overhead",
    title="The profiler itself holds the device up",
    symptom="is held up by the profiler",
    thread_symptom="is held up by the profiler",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
