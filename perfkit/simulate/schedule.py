"""An order in which the nodes of a graph can be computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.simulate.engine import Engine

    Ints = NDArray[np.int64]
    Numbers = NDArray[np.int32]

__all__ = ["Schedule"]


class Schedule(NamedTuple):
    """An order of nodes, their places in it, and the first edge of each place.

    ``kept`` are the edges that count, and ``position`` where each of them is when they are sorted by place.
    """

    order: Numbers
    place: Numbers
    first: Ints
    kept: Ints
    position: Numbers

    @classmethod
    def find(cls, engine: Engine, target: Ints, source: Ints, kept: Ints, seen: Numbers) -> Schedule:
        """Order nodes, ``seen`` by the time at which they were recorded, by some of the edges between them."""
        ends = target[kept].astype(np.int32), source[kept].astype(np.int32)
        order, first, position = engine.schedule(*ends, seen)
        place = np.empty(len(seen), np.int32)
        place[order] = np.arange(len(seen), dtype=np.int32)
        return cls(order, place, first, kept, position)
