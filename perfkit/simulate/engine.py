"""What computes a replay: the compiled module, or its twin here, which gives the same numbers without a compiler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Numbers = NDArray[np.int32]

__all__ = ["ALWAYS", "NO_EDGE", "Engine", "Twin"]

LATEST: Final = 1 << 61
ALWAYS: Final = -LATEST
"""Earlier than anything: no bound."""
NO_EDGE: Final = -(1 << 63)
"""The lag of an edge that is taken out of the graph."""


class Engine(Protocol):
    """Schedules a graph once, then replays it with other lags as often as wanted."""

    def schedule(self, target: Numbers, source: Numbers, seen: Numbers) -> tuple[Numbers, Ints, Numbers]:
        """Order the nodes of a graph so that every edge leads forward.

        Where edges go round in a circle, the earliest node that is left goes on without waiting for the others.

        Args:
            target: ``[edges]``: the node that each edge leads to.
            source: ``[edges]``: the node that it comes from.
            seen: ``[nodes]``: the nodes by the time at which they were recorded.

        Returns:
            The node at each place of the order; the first edge of each place, edges being sorted by the place of their
            target, and one more; and the position of each edge among the sorted ones.
        """

    def replay(self, first: Ints, source: Numbers, lag: Ints, earliest: Ints, own: Ints) -> Ints:
        """Return the time of every node: after all that leads to it, not before ``earliest``, and then ``own`` later.

        Args:
            first: ``[nodes + 1]``: the first edge of each node, nodes and edges in the order of a schedule.
            source: ``[edges]``: the place that each edge comes from; of those that lead backward there is no account.
            lag: ``[edges]``: how long after its source its target can be, in ns, or NO_EDGE.
            earliest: ``[nodes]``: ns.
            own: ``[nodes]``: ns.
        """


class Twin:
    """The engine in Python."""

    def schedule(self, target: Numbers, source: Numbers, seen: Numbers) -> tuple[Numbers, Ints, Numbers]:
        """Order the nodes of a graph: see `Engine`."""
        nodes = len(seen)
        leads_to = target[np.argsort(source, kind="stable")].tolist()
        out = counts_before(source, nodes).tolist()
        waiting = np.bincount(target, minlength=nodes).tolist()
        by_time = seen.tolist()
        order = [node for node in by_time if not waiting[node]]
        taken = [not count for count in waiting]
        done = passed = 0
        while done < nodes:
            if done == len(order):
                while taken[by_time[passed]]:
                    passed += 1
                order.append(by_time[passed])
                taken[by_time[passed]] = True
            node = order[done]
            done += 1
            for other in leads_to[out[node] : out[node + 1]]:
                waiting[other] -= 1
                if not waiting[other] and not taken[other]:
                    order.append(other)
                    taken[other] = True
        places = np.empty(nodes, np.int32)
        places[order] = np.arange(nodes)
        reached = places[target]
        position = np.empty(len(target), np.int32)
        position[np.argsort(reached, kind="stable")] = np.arange(len(target))
        return np.array(order, np.int32), counts_before(reached, nodes), position

    def replay(self, first: Ints, source: Numbers, lag: Ints, earliest: Ints, own: Ints) -> Ints:
        """Return the time of every node: see `Engine`."""
        edges = list(zip(source.tolist(), lag.tolist(), strict=True))
        bounds = first.tolist()
        time: list[int] = []
        for place, (ready, after) in enumerate(zip(earliest.tolist(), own.tolist(), strict=True)):
            latest = bounded(ready)
            for origin, delay in edges[bounds[place] : bounds[place + 1]]:
                if delay != NO_EDGE and origin < place:
                    latest = max(latest, bounded(time[origin] + bounded(delay)))
            time.append(bounded(latest + bounded(after)))
        return np.array(time, np.int64)


def counts_before(values: Numbers, nodes: int) -> Ints:
    """Return how many values are below each of ``0 ... nodes``."""
    before: Ints = np.concatenate((np.zeros(1, np.int64), np.cumsum(np.bincount(values, minlength=nodes))))
    return before


def bounded(time: int) -> int:
    """Return a time no sum of which overflows where integers are bounded."""
    return max(-LATEST, min(LATEST, time))
