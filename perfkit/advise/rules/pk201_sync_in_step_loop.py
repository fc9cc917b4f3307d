"""PK201 sync-in-step-loop: the host waits for the device, then the reverse.

What it does:
    Counts the time in which a device was idle because the thread that feeds
    it had been waiting for it: a synchronizing call was open when the device
    ran dry. Says what asked for it, by line. Next to it stands how long the
    host was blocked in such calls, which is usually more: while the host
    waits for a device that works, nothing is lost. Waits for a whole device
    are PK203. On a CPU nothing waits, but numbers that are read one by one
    cost a call each.

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

from typing import TYPE_CHECKING, Final

from perfkit.advise.loss import quote
from perfkit.advise.rule import Rule
from perfkit.advise.short_operators import reading
from perfkit.advise.synchronizing import KINDS, split, where_of
from perfkit.model.prediction import RemoveSync, Which
from perfkit.model.quantity import count, duration, percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution

__all__ = ["RULE"]

FIXES: Final = {
    "item": "Keep the number on the device, and read it less often or later: no `.item()` in a step.",
    "nonzero": "Replace `nonzero` by `torch.where` with three arguments, or a sum over a mask: their shapes are known.",
    "mask": "Multiply by the mask, or use `torch.where` with three arguments: indexing by a mask has to count first.",
    "print": "Do not print a tensor in a step: collect it, and print it every hundred steps.",
    "copy_to_host": "Copy to pinned memory with `non_blocking=True`, and read it a step later.",
    "copy_to_device": "Pin the host memory and copy with `non_blocking=True`, or make the tensor on the device.",
}
FIX: Final = "Keep the value on the device, and read it less often or later: no `.item()`, `.cpu()`, `print` in a step."


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find time lost to synchronization, beside the time for which the host was blocked in it."""
    yield from reading(attribution, RULE.code)
    loss = split(attribution)[1]
    if loss is None:
        return
    blocked = [
        f"{quote(row.thread)} was inside {count(row.calls, 'synchronizing call')} for {duration(row.ns)} "
        f"({percent(row.ns, row.window_ns)}); waiting for a device that works costs nothing."
        for row in attribution.blocked
        if row.cause == "synchronization" and row.ns
    ]
    waits = [row for row in attribution.signs.waits if row.timeline == loss.timeline.id and row.kind != "device"]
    where = where_of(loss, waits)
    # The wait behind most of the loss, by its line; the one that blocks longest may cost nothing.
    worst = next((row for row in waits if row.where and row.where == where), waits[0] if waits else None)
    asked: tuple[str, ...] = ()
    if worst is not None:
        asked = (f"{KINDS[worst.kind]} by {quote(worst.operator)}: {count(worst.calls, 'time')}.",)
    yield loss.finding(
        RULE.code,
        RULE.title,
        evidence=(*loss.culprits(), *asked, *blocked[:1]),
        fix=FIXES.get(worst.kind, FIX) if worst else FIX,
        safety="check",
        where=where,
        what_if=(RemoveSync(Which(rows=tuple(row for wait in waits for row in wait.rows))),)
        if waits
        else (RemoveSync(),),
    )


RULE = Rule(
    code="PK201",
    name="sync-in-step-loop",
    title="Synchronization leaves the device without work",
    symptom="is held up by synchronization",
    thread_symptom="reads numbers out of tensors one by one",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
