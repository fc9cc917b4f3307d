"""What predictions take for granted, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.model import prediction
from perfkit.model.quantity import percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.model.prediction import WhatIf

__all__ = ["assumptions"]

FAITHFUL: Final = 0.95

OF_KIND: Final[Mapping[type, tuple[str, ...]]] = {
    prediction.OverlapLoader: (
        "A batch that is ready is taken from its workers in 0.1 ms; in the interval, in nothing to 1 ms.",
        "At the high end of the interval, workers share cores with the program, which loses a third of the time that "
        "they load; a half, where it computes on those cores.",
    ),
    prediction.SpeedUpLoader: (
        "Loading takes less time where it is done now, on the same thread or by the same workers.",
    ),
    prediction.RemoveSync: (
        "No result of the device is needed where the removed call waited; copies to the host are still submitted.",
    ),
    prediction.RemoveHostTime: ("What the removed work made is there without it.",),
    prediction.OverlapCopies: ("Copies take as long as before, and data is there a step before it is needed.",),
    prediction.FuseKernels: (
        "A fused kernel whose time is not given takes as long as the longest of its parts; at the high end of the "
        "interval, as all of them, and only their launches are saved.",
    ),
    prediction.CaptureGraph: (
        "Nothing that is captured waits for the device, and shapes do not change; to launch a graph takes 8 to 100 us.",
    ),
    prediction.SpeedUp: (),
    prediction.OverlapCollectives: (
        "Nothing in a step needs the result of its own collectives, only the next step does; they slow nothing down.",
    ),
    prediction.ScaleBatch: (
        "Kernels under 10 us take no longer, all others proportionally; in the interval, none or all of them do.",
        "Collectives and the host's own work take as long as before.",
    ),
}


def assumptions(what_if: Sequence[WhatIf], fidelity: float) -> tuple[str, ...]:
    """Return what a prediction takes for granted, the doubts first."""
    found = [sentence for kind in dict.fromkeys(map(type, what_if)) for sentence in OF_KIND[kind]]
    if fidelity < FAITHFUL:
        doubt = (
            f"The model reproduces only {percent(fidelity)} of the recorded steps: take the prediction for a rough one."
        )
        found.insert(0, doubt)
    return tuple(found)
