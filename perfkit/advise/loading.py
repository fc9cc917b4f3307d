"""Which fault a loader has: time lost to loading is one rule's business, whichever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from perfkit.advise.loss import largest_loss

if TYPE_CHECKING:
    from perfkit.advise.loss import Loss
    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution
    from perfkit.model.signs import Loader

__all__ = ["Fault", "beside", "fault_of", "loader_of", "lost_by", "waiting"]

Fault = Literal["in_process", "in_order", "workers", "other"]

FEWEST_STALLS: Final = 3
LEAST_WAITING: Final = 0.04
"""Part of the window: taking over batches that are ready varies by nearly as much."""
AFTER_A_WAIT: Final = 0.3
"""Part of what a thread computes that it saves at most where it waits no more: a training step of 27 ms takes 35 ms
after a sleep of 50 ms (two virtual cores of an Intel Xeon, the fastest of 60)."""
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


def beside(attribution: Attribution, finding: Finding) -> Finding:
    """Say what a thread that computes may gain beside the time that it no longer waits.

    Whoever comes back from a wait of milliseconds finds caches cold and the clock low, and computes more slowly.
    """
    line = next(line for line in attribution.timelines if line.id == finding.timeline)
    loader = loader_of(attribution, finding.timeline)
    if loader is None or line.kind == "device":
        return finding
    beyond = min(round(AFTER_A_WAIT * line.busy.get("compute", 0)), finding.saving_high_ns)
    return finding._replace(records=loader.records, beyond_ns=beyond)


def waiting(attribution: Attribution, finding: Finding) -> Finding:
    """Give a finding on late batches its bounds: what a batch that is ready takes shows only where some are.

    Where the thread was seen to wait, that is what is saved; to take a batch over is work, of which little is.
    """
    loader = loader_of(attribution, finding.timeline)
    if loader is None or loader.kind != "workers":
        return finding
    late, most = finding.saving_ns, max(finding.saving_ns, loader.waited_ns)
    found = beside(attribution, finding._replace(saving_low_ns=late, saving_high_ns=most))
    if not loader.idling_ns:
        return found
    seen = min(max(late, loader.idling_ns), most)
    return found._replace(saving_high_ns=seen, beyond_ns=found.beyond_ns + most - seen)


def lost_by(attribution: Attribution, fault: Fault) -> Loss | None:
    """Return what is lost by this fault of loading; None where it is another one, or next to nothing."""
    found = fault_of(attribution)
    return found[1] if found and found[0] == fault else None


def loader_of(attribution: Attribution, timeline: str) -> Loader | None:
    """Return the loader of a timeline that took most time."""
    return next((row for row in attribution.signs.loaders if row.timeline == timeline), None)


def kind_of_event(loss: Loss) -> str:
    """Tell the kind of loader by the event that most of the loss is owed to."""
    event = next((row.event for row in loss.blame()), "")
    return "in_process" if "SingleProcess" in event else "workers" if "MultiProcess" in event else "other"
