"""Arithmetic on half-open integer intervals, vectorised. All inputs are int64 arrays sorted by start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = ["EMPTY", "Nest", "Union", "sort_by_start", "spread"]

EMPTY = np.empty(0, np.int64)

MANY_LEVELS: Final = 256
"""Nested deeper than programs are."""


def sort_by_start(start: Ints, then: Ints) -> Ints:
    """Return the order by ``start``, equal starts by ``then``: one cheap sort, and a second one of the ties alone."""
    order: Ints = np.argsort(start, kind="stable")
    ordered = start[order]
    tie = np.zeros(len(order) + 1, bool)
    tie[1:-1] = ordered[1:] == ordered[:-1]
    tied = tie[1:] | tie[:-1]
    if tied.any():
        members = order[tied]
        order[tied] = members[np.lexsort((then[members], start[members]))]
    return order


def spread(low: Ints, high: Ints) -> Ints:
    """Return the concatenation of ``range(low[i], high[i])``."""
    lengths = high - low
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    shifts: Ints = np.repeat(low - (ends - lengths), lengths)
    return np.arange(total) + shifts


class Union(NamedTuple):
    """The union of intervals as disjoint ascending ones; ``first`` is the position of each one's earliest member."""

    start: Ints
    end: Ints
    first: Ints
    before: Ints

    @classmethod
    def of(cls, start: Ints, end: Ints) -> Union:
        """Merge intervals that overlap; those that only touch stay apart."""
        if not len(start):
            return cls(EMPTY, EMPTY, EMPTY, np.zeros(1, np.int64))
        reach = np.maximum.accumulate(end)
        opens = np.ones(len(start), bool)
        opens[1:] = start[1:] >= reach[:-1]
        first = np.flatnonzero(opens)
        last = np.append(first[1:], len(start)) - 1
        begin, finish = start[first], reach[last]
        return cls(begin, finish, first, np.concatenate(([0], np.cumsum(finish - begin))))

    @property
    def total(self) -> int:
        """Covered length."""
        return int(self.before[-1])

    def covered(self, until: Ints) -> Ints:
        """Return the covered length before each time in ``until``."""
        index = np.searchsorted(self.start, until, "right")
        over = np.where(index > 0, self.end[index - 1] - until, 0) if len(self.start) else np.zeros_like(until)
        return self.before[index] - np.maximum(over, 0)

    def within(self, low: int, high: int) -> int:
        """Return the covered length in ``[low, high)``."""
        left, right = self.covered(np.array([low, high]))
        return int(right - left)


class Nest:
    """Nested intervals of one thread, such as operators or stack frames: finds the innermost one around a time.

    Rows are taken in order of start, longest first. ``parent`` comes from the depth, level by level; where the
    recording is not
    properly nested (rounded times) the look-up still returns an interval that holds the time, or -1.
    """

    def __init__(self, start: Ints, end: Ints) -> None:
        """Take intervals in any order; positions in answers refer to this order."""
        self.order = np.lexsort((-end, start))
        self.start, self.end = start[self.order], end[self.order]
        closed = np.searchsorted(np.sort(np.maximum(self.end, self.start + 1)), self.start, "right")
        depth = np.maximum(np.arange(len(start)) - closed, 0)
        by_depth = np.argsort(depth, kind="stable")
        bounds = np.searchsorted(depth[by_depth], np.arange(int(depth.max(initial=-1)) + 2))
        self.parent = np.full(len(start), -1, np.int64)
        for level in range(1, len(bounds) - 1):
            outer, inner = by_depth[bounds[level - 1] : bounds[level]], by_depth[bounds[level] : bounds[level + 1]]
            above = np.searchsorted(outer, inner) - 1
            self.parent[inner] = np.where(above >= 0, outer[above], -1)

    def innermost(self, times: Ints) -> Ints:
        """Return the position of the innermost interval with ``start <= time < end``, or -1."""
        if not len(self.start):
            return np.full(len(times), -1)
        found = np.searchsorted(self.start, times, "right") - 1
        climbed = 0
        while len(astray := np.flatnonzero((found >= 0) & (self.end[found] <= times))):
            if climbed == MANY_LEVELS:
                self._leap(found, astray, times)
            found[astray] = self.parent[found[astray]]
            climbed += 1
        return np.where(found >= 0, self.order[found], -1)

    def _leap(self, found: Ints, astray: Ints, times: Ints) -> None:
        """Move up as far as all has ended, by halving: for intervals nested thousands deep."""
        lifts = [self.parent]
        while (lifts[-1] >= 0).any():
            lifts.append(np.where(lifts[-1] >= 0, lifts[-1][lifts[-1]], -1))
        for lift in reversed(lifts):
            above = lift[found[astray]]
            ended = (above >= 0) & (self.end[above] <= times[astray])
            found[astray[ended]] = above[ended]
