"""Where threads come to launch in another order: the order of streams that they share, and what calls then wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from perfkit.model.arrays import distinct
from perfkit.simulate.engine import LATEST, NO_EDGE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.simulate.graph import Graph
    from perfkit.simulate.replay import Run

    Ints = NDArray[np.int64]
    Mask = NDArray[np.bool_]

__all__ = ["Launches", "reorder", "wait_anew"]


class Launches(NamedTuple):
    """When the moments of hosts and the starts of activities are, ns by node, and the node that launches each activity.

    Where a launch is not known, that is the activity's own.
    """

    time: Ints
    node: Ints
    unknown: Mask

    @classmethod
    def of(cls, graph: Graph, time: Ints) -> Launches:
        """Look at a replay, or at what was recorded."""
        offset, launch = graph.parts.host.nodes, graph.edges["launch"]
        node = np.arange(len(graph.parts.streams.of)) + offset
        node[launch.target - offset] = launch.source
        return cls(time, node, node >= offset)

    def handed(self, members: Ints) -> Ints:
        """Return when the activities of a stream were handed to it: one not known no later than those behind it."""
        times = self.time[self.node[members]]
        found: Ints = np.where(self.unknown[members], np.minimum.accumulate(times[::-1])[::-1], times)
        return found


def reorder(graph: Graph, run: Run, launches: Launches) -> bool:
    """Put the activities of streams that several threads use into the order of their launches; False if they are."""
    streams, offset = graph.parts.streams, graph.parts.host.nodes
    recorded = launches._replace(time=graph.earliest)
    slot = np.full(len(streams.of), -1, np.int64)
    slot[graph.edges["queue"].target - offset] = np.arange(len(graph.edges["queue"]))
    source, lag, table = run.sources["queue"], run.lags["queue"], run.tables["queue"]
    changed = False
    for stream in graph.parts.shared.tolist():
        members = streams.order[streams.bounds[stream] : streams.bounds[stream + 1]]
        members = members[~run.away[members]]
        # Where launches are not recorded in the order of their stream, that is how far each is off.
        before = recorded.handed(members)
        off = np.maximum.accumulate(before) - before
        members = members[np.argsort(launches.handed(members) + off, kind="stable")]
        before = np.append(-1, members[:-1])
        edge = slot[members]
        moved = (edge >= 0) & np.where(before < 0, lag[edge] != NO_EDGE, source[edge] != before + offset)
        edge, before, members = edge[moved], before[moved], members[moved]
        source[edge] = np.maximum(before, 0) + offset
        lag[edge] = np.where(before >= 0, LATEST, NO_EDGE)
        table[edge] = graph.draws.queue[members]
        changed |= bool(moved.any())
    return changed


def wait_anew(graph: Graph, run: Run, launches: Launches, lags: Ints) -> bool:
    """Have waits that have ``lags`` be for what other threads have launched by then; False if they are."""
    parts, source, lag = graph.parts, run.sources["wait"], run.lags["wait"]
    recorded = launches._replace(time=graph.earliest)
    streams, offset = parts.streams, parts.host.nodes
    edges = parts.crossing[((lags != NO_EDGE) & ~run.away[parts.waits.activity])[parts.crossing]]
    activity, call = parts.waits.activity[edges], parts.host.call_start[parts.waits.call[edges]]
    found = activity.copy()
    for stream in distinct(streams.of[activity]).tolist():
        mine = np.flatnonzero(streams.of[activity] == stream)
        members = streams.order[streams.bounds[stream] : streams.bounds[stream + 1]]
        members = members[~run.away[members]]
        was, now = (last_by(one.handed(members), one.time[call[mine]]) for one in (recorded, launches))
        moved = (was != now) & (members[was] == activity[mine])
        found[mine[moved]] = np.where(now >= 0, members[now], -1)[moved]
    before = source[edges].copy(), lag[edges].copy()
    source[edges] = np.maximum(found, 0) + offset
    lag[edges] = np.where(found >= 0, lags[edges], NO_EDGE)
    return bool((source[edges] != before[0]).any() or (lag[edges] != before[1]).any())


def last_by(handed: Ints, times: Ints) -> Ints:
    """Return the place of the last of what was handed over by each time, -1 for none."""
    order = np.argsort(handed, kind="stable")
    place = np.searchsorted(handed[order], times, "right") - 1
    return np.where(place >= 0, order[place], -1)
