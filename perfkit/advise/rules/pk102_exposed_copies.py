"""PK102 exposed-copies: the device copies while nothing else runs on it.

What it does:
    Counts the time in which a device did nothing but copy, and the time in
    which it was idle while the host was submitting a copy. Names the kinds of
    copy, their number, size and rate.

Why it is slow:
    A copy engine works beside the compute units, so a copy can cost nothing.
    It costs its full time when it is on the stream of the kernels that
    follow, or when the host memory is pageable: then the driver copies it
    once more and the calling thread waits.

Example:
    for batch in loader:
        batch = batch.to("cuda")        # pageable, and needed at once

Fix:
    loader = DataLoader(dataset, pin_memory=True)   # pin in the loader
    for batch in loader:
        batch = batch.to("cuda", non_blocking=True)

    To hide the copy as well, start it for the next batch on a side stream
    while this one is computed. Keep tensors on the device that are copied
    back and forth, and copy many small ones as one.

Fix safety:
    Check. With `non_blocking=True` the host memory must not be overwritten
    before the copy has run, and a copy from the device must be waited for
    before its result is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.loss import largest_loss, quote
from perfkit.advise.rule import Rule
from perfkit.model.quantity import count, duration, rate, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution, Copy

__all__ = ["RULE"]

MOST_KINDS: Final = 2


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find time in which a device does nothing but copy, or waits for a copy to be submitted."""
    loss = largest_loss(attribution, ("exposed_copy", "copy_submission"))
    if loss is None:
        return
    copies = sorted(attribution.copies, key=lambda copy: -copy.device_ns)
    pageable_ns = sum(copy.device_ns for copy in copies if "pageable" in copy.kind.lower())
    pageable = 2 * pageable_ns > sum(copy.device_ns for copy in copies)
    if pageable:
        fix = "Pin the host memory (`pin_memory=True` in the loader) and copy with `non_blocking=True`."
    else:
        fix = "Copy on a side stream while kernels run, copy less, or keep the data on the device."
    yield loss.finding(
        "PK102",
        "Copies from pageable memory hold the device up" if pageable else RULE.title,
        evidence=(*(sentence(copy) for copy in copies[:MOST_KINDS]), *loss.culprits()),
        fix=fix,
        safety="check",
        where=copies[0].kind if copies else None,
    )


def sentence(copy: Copy) -> str:
    """Say how many copies of one kind there are, how long they take, and how fast they are."""
    moved = f", {size(copy.bytes)} at {rate(copy.bytes_per_s)}" if copy.bytes else ""
    return f"{quote(copy.kind)}: {count(copy.calls, 'run')}, {duration(copy.device_ns)} in all, hidden or not{moved}."


RULE = Rule(
    code="PK102",
    name="exposed-copies",
    title="Copies run while nothing else does",
    symptom="does nothing but copy",
    thread_symptom="does nothing but copy",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
