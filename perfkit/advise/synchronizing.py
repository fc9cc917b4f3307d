"""Time lost to synchronization: waits for a whole device are one fault, those for a result another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.loss import largest_loss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.advise.loss import Loss
    from perfkit.model.attribution import Attribution
    from perfkit.model.signs import Wait

__all__ = ["KINDS", "split", "where_of"]

KINDS: Final = {
    "item": "A number was read",
    "nonzero": "Elements that are not zero were looked for",
    "mask": "A tensor was indexed by a mask",
    "print": "A tensor was printed",
    "copy_to_host": "Data was copied to the host",
    "copy_to_device": "Data was copied to the device",
    "device": "The whole device was waited for",
    "event": "An event was waited for",
    "stream": "A stream was waited for",
}


def split(attribution: Attribution) -> tuple[Loss | None, Loss | None]:
    """Return what is lost to waits for a whole device, and what to other waits; None where it is too little."""
    loss = largest_loss(attribution, ("synchronization",))
    if loss is None:
        return None, None
    wide = {row.call for row in attribution.signs.waits if row.kind == "device"}
    device_ns = min(loss.ns, sum(row.ns for row in loss.blame() if row.event in wide))
    parts = loss._replace(ns=device_ns), loss._replace(ns=loss.ns - device_ns)
    first, second = (part if part.matters else None for part in parts)
    return first, second


def where_of(loss: Loss, waits: Sequence[Wait]) -> str:
    """Return the line to blame for most of a loss; else the operator, or the call, that waits longest."""
    calls = {row.call for row in waits}
    line = next((row.where for row in loss.blame() if row.where and (row.event in calls or not calls)), "")
    return (
        line or next((row.where or row.operator for row in waits), "") or next((row.event for row in loss.blame()), "")
    )
