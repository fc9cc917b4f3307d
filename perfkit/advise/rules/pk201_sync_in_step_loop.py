"""PK201 sync-in-step-loop: the host waits for the device, then the reverse.

What it does:
    Counts the time in which a device was idle because the thread that feeds
    it had been waiting for it: a synchronizing call was open when the device
    ran dry. Next to it stands how long the host was blocked in such calls,
    which is usually more: while the host waits for a device that works,
    nothing is lost.

Why it is slow:
    A GPU is fed ahead of time. When the host stops to wait for a result, the
    queue runs empty, and the device then idles until the host has come back
    and launched the next kernel. `.item()`, `.cpu()`, `print(loss)`,
    `nonzero`, indexing with a boolean mask and copies from pageable memory
    all wait.

Example:
    for batch in loader:
        loss = step(batch)
        total += loss.item()                # waits for the device in every step

Fix:
    total = torch.zeros((), device="cuda")
    for batch in loader:
        total += step(batch).detach()       # stays on the device
    print(total.item())                     # waits once

    Replace `nonzero` and boolean masks by `torch.where`, which knows the
    shape of its result beforehand.

Fix safety:
    Check. Values that steer the program (early stopping, gradient clipping in
    Python) arrive later or less often.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.advise.loss import largest_loss, quote
from perfkit.advise.rule import Rule
from perfkit.model.quantity import count, duration, percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution

__all__ = ["RULE"]


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find time lost to synchronization, beside the time for which the host was blocked in it."""
    loss = largest_loss(attribution, ("synchronization",))
    if loss is None:
        return
    blocked = [
        f"{quote(row.thread)} was inside {count(row.calls, 'synchronizing call')} for {duration(row.ns)} "
        f"({percent(row.ns, row.window_ns)}); waiting for a device that works costs nothing."
        for row in attribution.blocked
        if row.cause == "synchronization" and row.ns
    ]
    yield loss.finding(
        "PK201",
        RULE.title,
        evidence=(*loss.culprits(), *blocked[:1]),
        fix="Keep the value on the device, and read it less often or later: no `.item()`, `.cpu()`, `print` in a step.",
        safety="check",
    )


RULE = Rule(
    code="PK201",
    name="sync-in-step-loop",
    title="Synchronization leaves the device without work",
    symptom="is held up by synchronization",
    thread_symptom="is held up by synchronization",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
