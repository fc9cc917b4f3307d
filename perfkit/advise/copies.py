"""Time lost to copies, and whether most of it is the fault of memory that is not pinned."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from perfkit.advise.loss import largest_loss, quote
from perfkit.model.quantity import count, duration, rate, size

if TYPE_CHECKING:
    from perfkit.advise.loss import Loss
    from perfkit.model.attribution import Attribution, Copy

__all__ = ["copying", "host_copies", "sentence"]

TO_DEVICE: Final = re.compile("HtoD|HostToDevice")


def copying(attribution: Attribution) -> tuple[Loss, bool] | None:
    """Return the time lost to copies and to submitting them, and whether most of what is copied is pageable."""
    loss = largest_loss(attribution, ("exposed_copy", "copy_submission"))
    if loss is None:
        return None
    pageable_ns = sum(copy.device_ns for copy in attribution.copies if "pageable" in copy.kind.lower())
    return loss, 2 * pageable_ns > sum(copy.device_ns for copy in attribution.copies)


def host_copies(attribution: Attribution) -> tuple[str, ...]:
    """Return the names of the copies to a device: with those from it, somebody waits for what is copied."""
    return tuple(copy.kind for copy in attribution.copies if TO_DEVICE.search(copy.kind))


def sentence(copy: Copy) -> str:
    """Say how many copies of one kind there are, how long they take, and how fast they are."""
    moved = f", {size(copy.bytes)} at {rate(copy.bytes_per_s)}" if copy.bytes else ""
    return f"{quote(copy.kind)}: {count(copy.calls, 'run')}, {duration(copy.device_ns)} in all, hidden or not{moved}."
