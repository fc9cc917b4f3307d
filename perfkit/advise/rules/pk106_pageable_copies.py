"""PK106 pageable-copies: copies from memory that is not pinned.

What it does:
    Counts the time in which a device did nothing but copy, and the time in
    which it was idle while the host was submitting a copy, where most of the
    copying was from or to pageable memory.

Why it is slow:
    A device can fetch data by itself only from memory that stays in place.
    From pageable memory the driver copies it once more, into a buffer of its
    own, and the calling thread waits meanwhile. Nothing overlaps.

Example:
    for batch in loader:
        batch = batch.to("cuda")        # pageable, and waited for

Fix:
    loader = DataLoader(dataset, pin_memory=True)   # pin in the loader
    for batch in loader:
        batch = batch.to("cuda", non_blocking=True)

    `tensor.pin_memory()` inline does not help: it is the copy that the driver
    would have made.

Fix safety:
    Check. With `non_blocking=True` the host memory must not be overwritten
    before the copy has run, and a copy from the device must be waited for
    before its result is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.advise.copies import copying, host_copies, sentence
from perfkit.advise.rule import Rule
from perfkit.model.prediction import OverlapCopies, Which

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.advise.loss import Loss
    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution

__all__ = ["RULE"]


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find time lost to copies, most of them from or to pageable memory."""
    found = copying(attribution)
    if found is None or not found[1]:
        return
    loss = found[0]
    copies = [
        row for row in sorted(attribution.copies, key=lambda row: -row.device_ns) if "pageable" in row.kind.lower()
    ]
    yield loss.finding(
        RULE.code,
        RULE.title,
        evidence=(*(sentence(copy) for copy in copies[:2]), *loss.culprits()),
        fix="Pin the host memory (`pin_memory=True` in the loader) and copy with `non_blocking=True`.",
        safety="check",
        where=where_of(attribution, loss, copies[0].kind),
        what_if=(OverlapCopies(Which(names=names)),) if (names := host_copies(attribution)) else (),
    )


def where_of(attribution: Attribution, loss: Loss, otherwise: str) -> str:
    """Return the line at which the host waits longest for a copy to the device, else where the device waits for one."""
    mine = [row for row in attribution.signs.waits if row.timeline == loss.timeline.id and row.kind == "copy_to_device"]
    longest = max(mine, key=lambda row: row.blocked_ns, default=None)
    if longest is not None and longest.where:
        return longest.where
    return next((row.where for row in loss.blame() if row.where), otherwise)


RULE = Rule(
    code="PK106",
    name="pageable-copies",
    title="Copies from pageable memory hold the device up",
    symptom="does nothing but copy",
    thread_symptom="does nothing but copy",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
