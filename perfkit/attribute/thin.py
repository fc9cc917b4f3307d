"""Thins elements of a timeline to a number that can be drawn: short neighbours become one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = ["Thinned", "thin"]

FINEST: Final = 1 << 22
"""The span divided by this is the first resolution that is tried."""
REFINEMENTS: Final = 4


class Thinned(NamedTuple):
    """Elements after thinning: ``longest`` is the position of the one that gives each its name, ``merged`` how many."""

    longest: Ints
    start: Ints
    end: Ints
    merged: Ints


def thin(lane: Ints, start: Ints, end: Ints, limit: int | None, focus: tuple[int, int] | None) -> Thinned:
    """Merge short neighbours until at most ``limit`` elements are left, or until no two of a lane are neighbours.

    Args:
        lane: Where each element is drawn; elements of a lane do not overlap.
        start: Starts; elements are ordered by lane, then start.
        end: Ends.
        limit: How many elements may be left; None keeps all.
        focus: A stretch for which half of the limit is kept.
    """
    count = len(start)
    if limit is None or count <= limit:
        return Thinned(np.arange(count), start, end, np.ones(count, np.int64))
    near = np.zeros(count, bool) if focus is None else (start < focus[1]) & (end > focus[0])
    resolution = np.zeros(count, np.int64)
    some = np.flatnonzero(near)
    resolution[some] = coarse_enough(lane[some], start[some], end[some], limit // 2)
    rest = np.flatnonzero(~near)
    left = limit - int(opens(lane[some], start[some], end[some], resolution[some]).sum())
    resolution[rest] = coarse_enough(lane[rest], start[rest], end[rest], left)
    first = np.flatnonzero(opens(lane, start, end, resolution))
    merged = np.diff(np.append(first, count))
    length = end - start
    group = np.repeat(np.arange(len(first)), merged)
    longest = np.flatnonzero(length == np.maximum.reduceat(length, first)[group])
    longest = longest[np.append(True, group[longest][1:] != group[longest][:-1])]
    return Thinned(longest, start[first], np.maximum.reduceat(end, first), merged)


def coarse_enough(lane: Ints, start: Ints, end: Ints, limit: int) -> int:
    """Return a resolution at which the limit holds, and not much coarser than that takes."""
    if len(start) <= limit:
        return 0

    def holds(resolution: int) -> bool:
        return int(opens(lane, start, end, np.full(len(start), resolution)).sum()) <= limit

    span = max(int(end.max() - start.min()), 1)
    resolution = max(span // FINEST, 1)
    while resolution <= span and not holds(resolution):
        resolution *= 2
    finer = resolution // 2
    for _ in range(REFINEMENTS):
        middle = (finer + resolution) // 2
        finer, resolution = (finer, middle) if holds(middle) else (middle, resolution)
    return resolution


def opens(lane: Ints, start: Ints, end: Ints, resolution: Ints) -> NDArray[np.bool_]:
    """Tell for each element whether it is drawn, or else merged with the one before it.

    Merged are those that are shorter than the resolution and lie in one cell of it, with no longer one between them.
    """
    small = end - start < resolution
    cell = start // np.maximum(resolution, 1)
    answer = np.ones(len(start), bool)
    answer[1:] = (lane[1:] != lane[:-1]) | (cell[1:] != cell[:-1]) | ~small[1:] | ~small[:-1]
    return answer
