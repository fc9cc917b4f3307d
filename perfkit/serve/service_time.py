"""Service time by size of batch, S(n) = a + b*n, and the headroom that batching has."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.model.load import ServiceTime

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["fit"]

RESAMPLES: Final = 400
FEWEST: Final = 3
"""Batches of a size, below which it does not count for the fit."""
INTERVAL: Final = (2.5, 97.5)


def fit(batches: Iterable[tuple[int, int]], source: str) -> ServiceTime | None:
    """Fit the service time of batches, given as number of items and ns; None if there are none.

    Sizes weigh by their medians, so that a few slow batches, and there always are some, do not tilt the line. Intervals
    are from resampling the batches of each size.
    """
    by_size: dict[int, list[int]] = {}
    for items, took_ns in batches:
        by_size.setdefault(items, []).append(took_ns)
    if not by_size:
        return None
    sizes = {size: (len(times), round(median(times))) for size, times in sorted(by_size.items())}
    used = {size: np.array(times, float) for size, times in by_size.items() if len(times) >= FEWEST}
    if len(used) < 2:  # noqa: PLR2004  a line needs two points
        return ServiceTime(None, None, None, sizes, source)
    random = np.random.default_rng(0)
    lines = [line(used)]
    lines += [line({n: random.choice(times, len(times)) for n, times in used.items()}) for _ in range(RESAMPLES)]
    fixed, each = np.array(lines).T
    headroom = (fixed + each) / np.maximum(each, 1e-9)
    return ServiceTime(interval(fixed), interval(each), interval(headroom), sizes, source)


def line(by_size: dict[int, NDArray[np.float64]]) -> tuple[float, float]:
    """Return a and b, neither negative, of the least-squares line through medians, weighted by how many there are."""
    n = np.array(list(by_size), float)
    times = np.array([np.median(values) for values in by_size.values()])
    weight = np.sqrt([len(values) for values in by_size.values()])
    each, fixed = np.polyfit(n, times, 1, w=weight)
    if fixed < 0:
        return 0.0, float(np.sum(weight**2 * n * times) / np.sum(weight**2 * n * n))
    return (float(fixed), float(each)) if each > 0 else (float(np.average(times, weights=weight**2)), 0.0)


def interval(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the first value, which is that of the data themselves, and the interval of all."""
    low, high = np.percentile(values, INTERVAL)
    return float(values[0]), float(low), float(high)
