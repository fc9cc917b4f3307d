"""PK901 unattributed-time: the trace does not show why the device was idle.

What it does:
    Counts idle time that no recorded event explains: the host thread that
    launched the next activity shows nothing (`unattributed_host_silent`), the
    launch was not recorded (`unattributed_no_launch`), or the time lies at
    the edge of the recording (`unattributed_edge`). Below 5 % of the window
    it stays silent.

Why it is slow:
    It need not be: it is unknown. Usually part of the program is not
    recorded: Python code with no stack and no annotation, a process or thread
    that the profiler does not follow, events lost to a full buffer, a trace
    that was cut, filtered or recorded without CPU activity.

Example:
    with profile(activities=[ProfilerActivity.CUDA]):   # no host
        step(batch)

Fix:
    activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA]
    with profile(activities=activities, with_stack=True) as profiler:
        with record_function("my step"):
            step(batch)

    Record less if events are lost: fewer steps, no shapes, no memory.

Fix safety:
    Safe. Nothing but the recording changes; stacks make it slower.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.loss import largest_loss, lost_ns
from perfkit.advise.rule import Rule
from perfkit.model.quantity import count, percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.advise.loss import Loss
    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution

__all__ = ["RULE"]

LEAST_SHARE: Final = 0.05
REASONS: Final = {
    "unattributed_host_silent": "the host thread shows no event",
    "unattributed_no_launch": "the launch was not recorded",
    "unattributed_edge": "it is at the edge of the recording",
}


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find idle time without an owner."""
    loss = largest_loss(attribution, tuple(REASONS), least_share=LEAST_SHARE)
    if loss is None:
        return
    yield loss.finding(
        "PK901",
        "The trace does not show what the thread does" if loss.on_thread else RULE.title,
        evidence=evidence(loss),
        fix="Record the host too (`activities=[CPU, CUDA]`), with `with_stack=True` or `record_function` marks.",
        safety="safe",
    )


def evidence(loss: Loss) -> tuple[str, ...]:
    """Say for which reasons the time has no owner, and how much of the device's work lacks its launch."""
    timeline = loss.timeline
    parts = [
        f"{reason} ({percent(lost_ns(timeline, (cause,)), loss.ns, digits=0)})"
        for cause, reason in REASONS.items()
        if lost_ns(timeline, (cause,))
    ]
    sentences = [f"Why it has no owner: {', '.join(parts)}."]
    if timeline.unlinked_activities:
        share = percent(timeline.unlinked_activities, timeline.activities)
        sentences.append(f"{count(timeline.unlinked_activities, 'device record')} ({share}) without a recorded launch.")
    return tuple(sentences)


RULE = Rule(
    code="PK901",
    name="unattributed-time",
    title="The trace does not show why the device is idle",
    symptom="is idle for reasons the trace does not show",
    thread_symptom="does what the trace does not show",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
