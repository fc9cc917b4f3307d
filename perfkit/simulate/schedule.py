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
    """An order of nodes, the first edge of each place of it, and the edges that count, by the place of their target."""

    order: Numbers
    first: Ints
    edges: Ints

    @classmethod
    def find(cls, engine: Engine, target: Numbers, source: Numbers, kept: Ints, seen: Numbers) -> Schedule:
        """Order nodes, ``seen`` by the time at which they were recorded, by some of the edges between them."""
        order, first, position = engine.schedule(target[kept], source[kept], seen)
        edges = np.empty(len(kept), np.int64)
        edges[position] = kept
        return cls(order, first, edges)
