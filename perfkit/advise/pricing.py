"""What a finding is worth: what a replay of the trace without the fault saves, where a replay can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.loss import LEAST_NS, LEAST_SHARE
from perfkit.model.prediction import OverlapCopies, RemoveSync, ScaleBatch
from perfkit.model.quantity import percent, sentence

if TYPE_CHECKING:
    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution
    from perfkit.model.prediction import Predict, Prediction

__all__ = ["price"]

LEAST_FIDELITY: Final = 0.95
"""A replay that reproduces the steps less well cannot tell what they would be without a fault."""
LET_THE_HOST_GO: Final = (RemoveSync, OverlapCopies)
"""Changes after which the host runs ahead: they save more than the device lost in the wait itself, and all of it is
theirs. What other changes save beyond the time of the fault is owed to another fault, which they happen to hide."""


def price(finding: Finding, attribution: Attribution, predict: Predict | None) -> Finding | None:
    """Replace the bound of a finding by what a replay without the fault saves; None where that is next to nothing.

    Where there is no replay, it found none of the events, or it does not reproduce the trace, the bound stays.

    Raises:
        ValueError: The finding is about no timeline.
    """
    window = next((line.window_ns for line in attribution.timelines if line.id == finding.timeline), 0)
    if not window:
        message = f"a finding is about {finding.timeline!r}, which is no timeline"
        raise ValueError(message)
    if predict is None or not finding.what_if:
        return finding
    prediction = predict(*finding.what_if, timeline=finding.timeline)
    if prediction is None or not any(prediction.matched) or prediction.fidelity < LEAST_FIDELITY:
        return finding
    low, saving, high = savings(prediction)
    most = window if isinstance(finding.what_if[0], LET_THE_HOST_GO) else finding.saving_high_ns
    saving, high = min(saving, most), min(high, most)
    if saving < LEAST_NS or saving < LEAST_SHARE * window:
        return None
    low, high = max(min(low, saving), 0), max(high, saving)
    ends = f"{percent(low, window)} to {percent(high, window)}"
    replayed = f"Replayed without it: {percent(saving, window)} less, {ends}."
    assumed = tuple(sentence(text.rstrip(".")) for text in prediction.assumptions)
    return finding._replace(
        saving_ns=saving, saving_low_ns=low, saving_high_ns=high, evidence=(*finding.evidence, replayed, *assumed)
    )


def savings(prediction: Prediction) -> tuple[int, int, int]:
    """Return what is saved at least, probably and at most: of a larger batch, for as many items as there were."""
    factor = next((change.factor for change in prediction.what_if if isinstance(change, ScaleBatch)), 1.0)
    ends = (prediction.high_ns, prediction.predicted_ns, prediction.low_ns)
    low, saving, high = (prediction.measured_ns - round(ns / factor) for ns in ends)
    return low, saving, high
