"""What computes a replay: the compiled module, or its twin here, which gives the same numbers without a compiler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Numbers = NDArray[np.int32]

__all__ = ["ALWAYS", "LATEST", "NO_EDGE", "Engine", "Incoming", "Twin"]

LATEST: Final = 1 << 61
ALWAYS: Final = -LATEST
"""Earlier than anything: no bound."""
NO_EDGE: Final = -(1 << 63)
"""The lag of an edge that is taken out of the graph."""


class Incoming(NamedTuple):
    """Edges by the node that they lead to, nodes in the order of a schedule.

    Attributes:
        first: ``[nodes + 1]``: the first edge of each node of the order.
        source: ``[edges]``: the node that each edge comes from; of those that lead backward there is no account.
        lag: ``[edges]``: how long after its source its target can be, in ns, or NO_EDGE.
        table: ``[edges]``: the table that the lag is drawn from, being ``lag`` at most; negative for none.
        behind: ``[edges]``: whether the edge counts only where its source is later than what its target waits for by
            the edges before it that are not behind. So it is with queues: what finds its stream free does not pause.
    """

    first: Ints
    source: Numbers
    lag: Ints
    table: Numbers
    behind: NDArray[np.uint8]


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

    def replay(self, edges: Incoming, order: Numbers, earliest: Ints, own: Ints, draws: Ints) -> Ints:
        """Return the time of every node: after all that leads to it, not before ``earliest``, and then ``own`` later.

        A node draws the same in every replay.

        Args:
            edges: What leads to each node, in the order of a schedule.
            order: ``[nodes]``: this order.
            earliest: ``[nodes]``: ns.
            own: ``[nodes]``: ns.
            draws: ``[lanes, tables, size]``: what lags are drawn from, ns; ``size`` is a power of two.

        Returns:
            ``[nodes, lanes]``, ns.
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

    def replay(self, edges: Incoming, order: Numbers, earliest: Ints, own: Ints, draws: Ints) -> Ints:
        """Return the time of every node: see `Engine`."""
        lanes = np.arange(len(draws))
        incoming = list(zip(*(values.tolist() for values in edges[1:]), strict=True))
        bounds, ready, after = edges.first.tolist(), earliest.tolist(), own.tolist()
        time = np.empty((len(own), len(draws)), np.int64)
        done: set[int] = set()
        for place, node in enumerate(order.tolist()):
            latest, free = np.full(len(draws), bounded(ready[node])), np.full(len(draws), -LATEST)
            for origin, delay, number, waits in incoming[bounds[place] : bounds[place + 1]]:
                if delay == NO_EDGE or origin not in done:
                    continue
                begun, most = time[origin], np.int64(bounded(delay))
                if number >= 0:
                    most = np.minimum(most, draws[lanes, number, drawn_at(node, lanes, number, draws.shape[2])])
                reached = begun + np.clip(most, -LATEST, LATEST)
                if waits:
                    free = np.where(begun > latest, np.maximum(free, reached), free)
                else:
                    latest = np.maximum(latest, reached)
            time[node] = np.clip(np.maximum(latest, free) + bounded(after[node]), -LATEST, LATEST)
            done.add(node)
        return time


def drawn_at(node: int, lanes: Ints, table: int, size: int) -> Ints:
    """Return where in a table of each lane a node draws, as the compiled module does."""
    word = np.int64(0xFFFFFFFF)
    mixed = (node * 0x9E3779B1 + lanes * 0x85EBCA77) & word
    for shift, factor in ((15, 0x2C1B3C6D), (12, 0x297A2D39)):
        mixed = ((mixed ^ (mixed >> shift)) * factor) & word
    found: Ints = ((mixed ^ (mixed >> 15)) + table) & (size - 1)
    return found


def counts_before(values: Numbers, nodes: int) -> Ints:
    """Return how many values are below each of ``0 ... nodes``."""
    before: Ints = np.concatenate((np.zeros(1, np.int64), np.cumsum(np.bincount(values, minlength=nodes))))
    return before


def bounded(time: int) -> int:
    """Return a time no sum of which overflows where integers are bounded."""
    return max(-LATEST, min(LATEST, time))
