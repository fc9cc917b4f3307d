"""What predictions take for granted, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.model import prediction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.model.prediction import Prediction

__all__ = ["assumptions"]

OF_KIND: Final[Mapping[type, tuple[str, ...]]] = {
    prediction.OverlapLoader: (
        "A batch that is ready is taken in 0.1 ms; in the interval, in nothing to 1 ms.",
        "At the high end of the interval, workers take a third of the time in which they compute from the program, or "
        "a half where it computes on those cores, too.",
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
        "A fused kernel takes the time that is given, else as long as the longest of its parts; at the high end of "
        "the interval, as all of them, and only their launches are saved.",
    ),
    prediction.CaptureGraph: (
        "Nothing that is captured waits for the device, and shapes stay the same.",
        "A graph is launched in 50 us, in the interval in 3.5 to 100, and nothing in it pauses for more than 1 us.",
        "At the high end of the interval, only operators and launch calls are spared, not the Python between them.",
    ),
    prediction.SpeedUp: (),
    prediction.OverlapCollectives: (
        "Nothing in a step needs the result of its own collectives, only the next step does; they slow nothing down.",
    ),
    prediction.ScaleBatch: (
        "Of each kernel and copy, all but 2 us grow in proportion; in the interval, nothing or all of it does.",
        "Collectives and the host's own work take as long as before.",
    ),
}


def assumptions(found: Prediction) -> tuple[str, ...]:
    """Return what a prediction takes for granted, the doubts first."""
    granted = [sentence for kind in dict.fromkeys(map(type, found.what_if)) for sentence in OF_KIND[kind]]
    return (*found.doubts, *granted)
