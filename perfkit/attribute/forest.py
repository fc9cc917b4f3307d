"""Call trees: who is whose parent on a host thread, and a forest of named frames that time is added to."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.attribute.intervals import EMPTY, Nest, spread
from perfkit.model.picture import Flame

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Literal

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = ["MOST_FRAMES", "Forest", "generations", "levels"]

LEAST_SHARE: Final = 1 / 5000
"""A frame below this part of the whole is narrower than a pixel, and left out."""
MOST_FRAMES: Final = 3000


def generations(nest: Nest) -> Iterator[Ints]:
    """Yield the positions (in the nest's own order) of the outermost intervals, then of their children, and so on."""
    order = np.argsort(nest.parent, kind="stable")
    ordered, everyone = nest.parent[order], np.arange(len(nest.parent))
    first, last = np.searchsorted(ordered, everyone), np.searchsorted(ordered, everyone, "right")
    members: Ints = np.flatnonzero(nest.parent < 0)
    while len(members):
        yield members
        members = order[spread(first[members], last[members])]


def levels(nest: Nest) -> Ints:
    """Return how deep each interval is nested, in the nest's own order."""
    found = np.zeros(len(nest.parent), np.int64)
    for level, members in enumerate(generations(nest)):
        found[members] = level
    return found


class Forest:
    """Frames by parent and name, grown from the roots; each is a number, -1 is the ground below the roots."""

    def __init__(self) -> None:
        """Start with nothing but the ground."""
        self._known: dict[tuple[int, int], int] = {}
        self._self_ns: defaultdict[int, int] = defaultdict(int)

    def grow(self, frame: Ints, name: Ints) -> Ints:
        """Return the child of each frame that has this name; a name of -1 stands for the frame itself."""
        answer = frame.copy()
        some = np.flatnonzero(name >= 0)
        if not len(some):
            return answer
        width = int(name.max()) + 1
        distinct, index = np.unique((frame[some] + 1) * width + name[some], return_inverse=True)
        pairs = zip((distinct // width - 1).tolist(), (distinct % width).tolist(), strict=True)
        numbers = [self._known.setdefault(pair, len(self._known)) for pair in pairs]
        answer[some] = np.array(numbers, np.int64)[index]
        return answer

    def plant(self, nest: Nest, name: Ints, ground: Ints) -> Ints:
        """Return the frame of each interval of a nest, in its own order.

        Args:
            nest: Intervals of a thread.
            name: The name of each, in the nest's own order.
            ground: The frame that each outermost one stands on.
        """
        frame = ground.copy()
        for members in generations(nest):
            above = nest.parent[members]
            frame[members] = self.grow(np.where(above >= 0, frame[above], ground[members]), name[members])
        return frame

    def add(self, frame: Ints, ns: Ints) -> None:
        """Add time to frames."""
        distinct, index = np.unique(frame, return_inverse=True)
        sums = np.zeros(len(distinct), np.int64)
        np.add.at(sums, index, ns)
        for number, total in zip(distinct.tolist(), sums.tolist(), strict=True):
            self._self_ns[number] += total

    def flame(
        self, by: Literal["module", "line"], measure: Literal["device", "host"], *, whole_forest: bool
    ) -> Flame | None:
        """Return the frames that are large enough to be seen, or all of them; None if there are none."""
        pairs = list(self._known)
        own = [self._self_ns[number] for number in range(len(pairs))]
        total = own.copy()
        for number in range(len(pairs) - 1, -1, -1):  # children have larger numbers than their parents
            if (parent := pairs[number][0]) >= 0:
                total[parent] += total[number]
        whole = sum(own) + self._self_ns[-1]
        if whole <= 0 or not pairs:
            return None
        kept = list(range(len(pairs))) if whole_forest else keep(total, whole)
        place = {number: index for index, number in enumerate(kept)}
        self_ns = [own[number] for number in kept]
        left_out = self._self_ns[-1]
        for number, (parent, _) in enumerate(pairs):
            if number in place or not total[number] or (parent >= 0 and parent not in place):
                continue
            left_out += total[number]
            if parent >= 0:
                self_ns[place[parent]] += total[number]
        return Flame(
            by=by,
            measure=measure,
            parent=as_ints([place.get(pairs[number][0], -1) for number in kept]),
            name=as_ints([pairs[number][1] for number in kept]),
            self_ns=as_ints(self_ns),
            left_out_ns=left_out,
        )


def keep(total: Sequence[int], whole: int) -> list[int]:
    """Return the numbers of the frames to keep, ascending; with a frame its parents are kept, being larger."""
    large = [number for number, ns in enumerate(total) if ns > 0 and ns >= LEAST_SHARE * whole]
    large.sort(key=lambda number: (-total[number], number))
    return sorted(large[:MOST_FRAMES])


def as_ints(values: Sequence[int]) -> Ints:
    """Return numbers as an array, an empty one included."""
    return np.array(values, np.int64) if values else EMPTY
