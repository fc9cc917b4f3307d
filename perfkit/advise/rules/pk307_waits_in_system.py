"""PK307 waits-in-system: the device waits for the operating system.

What it does:
    Counts the time in which a device was idle while the thread that feeds it
    was in a call of the operating system: reading a file or a socket, asleep,
    or waiting for a lock or for another thread. Waits inside a loader, or
    inside a call of the CUDA runtime, belong to those.

Why it is slow:
    A thread that waits launches nothing. Typical are data read by the thread
    that trains, logs and checkpoints written by it, requests to a metrics
    server, locks shared with a pool of threads, and futures waited for.

Example:
    for step, batch in enumerate(batches):
        loss = train_step(batch)
        torch.save(model.state_dict(), path)        # the step waits for it

Fix:
    Let a thread of its own read ahead and write behind, so that the thread
    that launches only hands over. Where it waits for a lock, hold the lock
    for less.

Fix safety:
    Check. What is written later must not change until it is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.advise.loss import largest_loss
from perfkit.advise.rule import Rule
from perfkit.model.prediction import RemoveHostTime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution

__all__ = ["RULE"]


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find time lost to calls of the operating system."""
    loss = largest_loss(attribution, ("os_wait",))
    if loss is None:
        return
    yield loss.finding(
        "PK307",
        "A thread waits in the operating system" if loss.on_thread else RULE.title,
        evidence=loss.culprits(),
        fix="Read ahead and write behind on a thread of its own, so that the thread that launches never waits.",
        safety="check",
        what_if=(RemoveHostTime("os_wait"),),
    )


RULE = Rule(
    code="PK307",
    name="waits-in-system",
    title="The host waits in the operating system",
    symptom="waits for the operating system",
    thread_symptom="waits in the operating system",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
