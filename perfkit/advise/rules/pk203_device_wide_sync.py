"""PK203 device-wide-sync: a wait for everything, where one thing was meant.

What it does:
    Counts the time in which a device was idle because the thread that feeds
    it had been in a call that waits for all streams of the device:
    `torch.cuda.synchronize()`, `cudaDeviceSynchronize`.

Why it is slow:
    The queue runs empty on every stream, whatever it was that had to be
    waited for, and then everything starts anew: the device idles until the
    host has launched the next kernels. Such calls are left behind by timing
    code, and by code that was debugged.

Example:
    for batch in loader:
        torch.cuda.synchronize()            # to time the step
        start = time.perf_counter()
        step(batch)

Fix:
    start, end = torch.cuda.Event(enable_timing=True), ...
    start.record(); step(batch); end.record()   # read them much later

    Wait for an event or a stream, not for the device; in steady state for
    none.

Fix safety:
    Check. Something may rely on the wait: results that are read by the host,
    or memory that another library uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.advise.rule import Rule
from perfkit.advise.synchronizing import split, where_of
from perfkit.model.prediction import RemoveSync, Which
from perfkit.model.quantity import count, duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution

__all__ = ["RULE"]


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find time lost to waits for a whole device."""
    loss = split(attribution)[0]
    if loss is None:
        return
    waits = [row for row in attribution.signs.waits if row.timeline == loss.timeline.id and row.kind == "device"]
    yield loss.finding(
        RULE.code,
        RULE.title,
        evidence=tuple(
            f"`{row.call}` {count(row.calls, 'time')}, {duration(row.blocked_ns)} of the host in all."
            for row in waits[:2]
        ),
        fix="Wait for an event or a stream, or not at all; time with `torch.cuda.Event`.",
        safety="check",
        where=where_of(loss, waits),
        what_if=(RemoveSync(Which(names=tuple({row.call for row in waits}))),),
    )


RULE = Rule(
    code="PK203",
    name="device-wide-sync",
    title="The host waits for the whole device",
    symptom="is held up by waits for the whole device",
    thread_symptom="waits for the whole device",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
