"""PK306 gaps-between-queued-kernels: it pauses with work at hand.

What it does:
    Counts the time in which a device was idle although the activity that
    ended the pause had been launched before it began. It waited for its turn
    on its stream, for another stream or event, or for its place in a CUDA
    graph. A microsecond or two between dependent kernels is normal, so this
    speaks up only above 5 % of the window.

Why it is slow:
    A kernel that depends on another starts a little after it, even when both
    are queued. With kernels of a few microseconds these pauses add up. Longer
    ones mean that work waits for an event on another stream, such as a
    collective or a copy.

Example:
    x = ((x * scale) + bias).clamp(0)       # three kernels, three pauses

Fix:
    Fuse short kernels (`torch.compile`), use a larger batch, or record the
    loop as a CUDA graph. Where a stream waits for another, start earlier what
    it waits for.

Fix safety:
    Check. Fused kernels round differently.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.loss import largest_loss, lost_ns
from perfkit.advise.rule import Rule
from perfkit.model.quantity import duration, percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.advise.loss import Loss
    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution

__all__ = ["RULE"]

LEAST_SHARE: Final = 0.05
WAITS: Final = {
    "queued_same_stream": "on their own stream",
    "queued_cross_stream": "for another stream or event",
    "queued_in_graph": "inside a graph launch",
}


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find pauses of the device before work that had been launched earlier."""
    loss = largest_loss(attribution, tuple(WAITS), least_share=LEAST_SHARE)
    if loss is None:
        return
    yield loss.finding(
        "PK306",
        RULE.title,
        evidence=(split(loss),),
        fix="Fuse short kernels (`torch.compile`), use a CUDA graph; start what another stream waits for earlier.",
        safety="check",
    )


def split(loss: Loss) -> str:
    """Say what the queued work was waiting for, and how long for each activity."""
    parts = [
        f"{percent(lost_ns(loss.timeline, (cause,)), loss.ns, digits=0)} {place}"
        for cause, place in WAITS.items()
        if lost_ns(loss.timeline, (cause,))
    ]
    mean = loss.ns / max(loss.timeline.activities, 1)
    return f"Launched work waited {', '.join(parts)}: {duration(mean)} for each activity on average."


RULE = Rule(
    code="PK306",
    name="gaps-between-queued-kernels",
    title="The device pauses between activities it already has",
    symptom="pauses between kernels that are already queued",
    thread_symptom="pauses between kernels that are already queued",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
