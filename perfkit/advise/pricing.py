"""What a finding is worth: what a replay of the trace without the fault saves, where a replay can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.loss import LEAST_NS, LEAST_SHARE
from perfkit.model.prediction import OverlapCopies, OverlapLoader, RemoveSync, ScaleBatch, doubts, reach
from perfkit.model.quantity import percent, sentence

if TYPE_CHECKING:
    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution
    from perfkit.model.prediction import Predict, Prediction

__all__ = ["price", "promise"]

LEAST_FIDELITY: Final = 0.95
"""A replay that reproduces the steps less well cannot tell what they would be without a fault."""
USUAL_ERROR: Final = 0.05
"""Part of what is saved: of a hundred replays of programs that are run again without the fault, 97 are no more off."""
HIDDEN: Final = 1.1
"""So many times the fault's own time, and it is worth saying that a replay saves more."""
LET_THE_HOST_GO: Final = (RemoveSync, OverlapCopies)
"""Changes after which the host runs ahead: they save more than the device lost in the wait itself, and all of it is
theirs. What other changes save beyond the time of the fault is owed to another fault, which they happen to hide."""


def price(finding: Finding, attribution: Attribution, predict: Predict | None) -> Finding | None:
    """Replace the bound of a finding by what a replay without the fault saves; None where that is next to nothing.

    Where there is no replay, it found none of the events, or it does not reproduce the trace, the bound stays.

    Raises:
        ValueError: The finding is about no timeline.
    """
    line = next((line for line in attribution.timelines if line.id == finding.timeline), None)
    window = line.window_ns if line else 0
    if not line or not window:
        message = f"a finding is about {finding.timeline!r}, which is no timeline"
        raise ValueError(message)
    bound = finding._replace(saving_high_ns=min(finding.saving_high_ns + finding.beyond_ns, window))
    if predict is None or not finding.what_if:
        return bound
    prediction = predict(*finding.what_if, timeline=finding.timeline)
    if prediction is None or not any(prediction.matched):
        return bound._replace(what_if=())  # there is nothing to ask for
    if prediction.fidelity < LEAST_FIDELITY:
        return bound
    low, replayed_ns, high = savings(prediction)
    most = window if isinstance(finding.what_if[0], LET_THE_HOST_GO) else finding.saving_high_ns
    saving = min(replayed_ns, most)
    if saving < LEAST_NS or saving < LEAST_SHARE * window:
        return None
    doubt = round(USUAL_ERROR * saving) if line.kind == "device" else 0  # of a thread, it is added with all others
    # Whoever repairs the fault gets all that the replay saves, whatever else it is owed to.
    least = min(low, saving - doubt)
    if isinstance(finding.what_if[0], OverlapLoader) and finding.saving_low_ns:
        least = min(least, finding.saving_low_ns)  # what a batch that is ready takes, a replay does not know better
    low, high = max(least, 0), min(max(high, replayed_ns + doubt) + finding.beyond_ns, window)
    return finding._replace(
        saving_ns=saving,
        saving_low_ns=low,
        saving_high_ns=high,
        replayed_ns=replayed_ns,
        # What is doubtful of the finding is said once its own interval is known.
        assumptions=tuple(
            sentence(text.rstrip(".")) for text in prediction.assumptions if text not in prediction.doubts
        ),
    )


def promise(finding: Finding, attribution: Attribution) -> Finding:
    """Say what is saved, and how sure that is, where it is more than a bound from the fault's own time."""
    window = next(line.window_ns for line in attribution.timelines if line.id == finding.timeline)
    replayed = finding.replayed_ns
    without = [*([] if replayed is None else ["it"]), *([finding.apart] if finding.apart else [])]
    if not without:
        return finding
    ends = (finding.saving_ns, finding.saving_low_ns, finding.saving_high_ns)
    saving, low, high = (percent(ns, window) for ns in ends)
    verb = "Without" if replayed is None else "Replayed without"
    said = f"{verb} {', and without '.join(without)}: {saving} less"
    if replayed is not None and replayed > HIDDEN * max(finding.saving_ns, finding.share * window):
        said += f", its own time, of the {percent(replayed, window)} that a replay saves"
    left = (window - ns for ns in (finding.saving_ns, finding.saving_high_ns, finding.saving_low_ns))
    doubtful = () if replayed is None else doubts(1.0, reach(*left))
    return finding._replace(
        evidence=(*finding.evidence, f"{said}, {low} to {high}."), assumptions=(*doubtful, *finding.assumptions)
    )


def savings(prediction: Prediction) -> tuple[int, int, int]:
    """Return what is saved at least, probably and at most: of a larger batch, for as many items as there were."""
    factor = next((change.factor for change in prediction.what_if if isinstance(change, ScaleBatch)), 1.0)
    ends = (prediction.high_ns, prediction.predicted_ns, prediction.low_ns)
    low, saving, high = (prediction.measured_ns - round(ns / factor) for ns in ends)
    return low, saving, high
