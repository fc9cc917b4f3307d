"""Measurements made up for tests: both functions are called, and the answer is what a test wants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.model.measurement import Measurement

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["faster", "slower"]


def faster(base: Callable[[], object], candidate: Callable[[], object], *, device: str) -> Measurement:
    """Run both, and say that the candidate is twice as fast."""
    assert device == "cpu"
    base()
    candidate()
    return Measurement(2_000, 1_000, 2.0, 1.9, 2.1, 21)


def slower(base: Callable[[], object], candidate: Callable[[], object], *, device: str) -> Measurement:
    """Run both, and say that the candidate is slower, if anything."""
    return faster(base, candidate, device=device)._replace(speedup=0.9, low=0.8, high=1.02)
