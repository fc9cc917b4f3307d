"""Which fault a loader has: time lost to loading is one rule's business, whichever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from perfkit.advise.loss import largest_loss

if TYPE_CHECKING:
    from perfkit.advise.loss import Loss
    from perfkit.model.attribution import Attribution
    from perfkit.model.signs import Loader

__all__ = ["Fault", "fault_of", "loader_of"]

Fault = Literal["in_process", "in_order", "workers", "other"]

FEWEST_STALLS: Final = 3
LEAST_WAITING: Final = 0.04
"""Part of the window: taking over batches that are ready varies by nearly as much."""
MOSTLY: Final = 0.5


def fault_of(attribution: Attribution) -> tuple[Fault, Loss] | None:
    """Return what is wrong with loading, and what is lost by it; None where next to nothing is.

    Beginnings of epochs are no part of it. A batch that a worker has ready takes time to be taken over, too: that is
    not lost by waiting.
    """
    loss = largest_loss(attribution, ("data_loading",))
    if loss is None:
        return None
    loader = loader_of(attribution, loss.timeline.id)
    kind = loader.kind if loader else kind_of_event(loss)
    if kind == "in_process":
        return "in_process", loss
    if loader is None or kind == "other":
        return ("workers" if kind == "workers" else "other"), loss
    late = min(loss.ns, loader.late_ns)
    lost = loss._replace(ns=late)
    if not lost.matters or lost.share < LEAST_WAITING:
        return None
    regular = loader.period > 1 and loader.stalled >= FEWEST_STALLS
    return ("in_order" if regular and loader.stalled_ns > MOSTLY * late else "workers"), lost


def loader_of(attribution: Attribution, timeline: str) -> Loader | None:
    """Return the loader of a timeline that took most time."""
    return next((row for row in attribution.signs.loaders if row.timeline == timeline), None)


def kind_of_event(loss: Loss) -> str:
    """Tell the kind of loader by the event that most of the loss is owed to."""
    event = next((row.event for row in loss.blame()), "")
    return "in_process" if "SingleProcess" in event else "workers" if "MultiProcess" in event else "other"
