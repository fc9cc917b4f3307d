"""The Measurement: two implementations timed in turns, in one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Measure", "Measurement"]


class Measurement(NamedTuple):
    """How much faster one implementation is than another, both timed in turns.

    Attributes:
        base_ns: Time of a call of what is replaced, the median of the calmer half of the rounds.
        candidate_ns: That of the replacement, in the same rounds.
        speedup: Median, over the rounds, of the one divided by the other.
        low: Lower end of its 95 % bootstrap interval.
        high: Upper end.
        rounds: How many pairs were timed.
        base_peak_bytes: Memory that a call of what is replaced took at most; None where nothing counts it.
        candidate_peak_bytes: That of the replacement.
    """

    base_ns: int
    candidate_ns: int
    speedup: float
    low: float
    high: float
    rounds: int
    base_peak_bytes: int | None = None
    candidate_peak_bytes: int | None = None


class Measure(Protocol):
    """The function that measures; a stage that needs one is given it."""

    def __call__(self, base: Callable[[], object], candidate: Callable[[], object], *, device: str) -> Measurement:
        """Time two functions in turns on a device of that type, such as ``cpu`` or ``cuda``."""
