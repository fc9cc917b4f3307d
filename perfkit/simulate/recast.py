"""A trace as it would have been: every row at the time that a replay gives it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from perfkit.simulate.replay import moved

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.model.trace import Trace
    from perfkit.simulate.graph import Graph

    Ints = NDArray[np.int64]

__all__ = ["recast"]


def recast(graph: Graph, trace: Trace, time: Ints, own: Ints) -> Trace:
    """Move the rows of a trace: activities to where they are replayed, the host's with the moments around them.

    Args:
        graph: The graph of the trace.
        trace: The trace.
        time: The replayed time of every node, ns.
        own: How long every node's activity takes, ns.

    Returns:
        A trace with the same rows. Rows on threads that nothing depends on, and those that are no work, stay.
    """
    start, end = trace.columns["start"].copy(), trace.columns["end"].copy()
    rows, moments = graph.program.host, graph.parts.host
    threads = np.arange(len(graph.program.process_of_thread) + 1)
    of_rows, of_moments = np.searchsorted(rows.thread, threads), np.searchsorted(moments.thread, threads)
    for thread in np.flatnonzero(np.diff(of_moments)).tolist():
        mine = rows.row[of_rows[thread] : of_rows[thread + 1]]
        some = slice(of_moments[thread], of_moments[thread + 1])
        before, after = moments.time[some], np.maximum.accumulate(time[some])
        start[mine], end[mine] = moved(start[mine], before, after), moved(end[mine], before, after)
    activities = graph.program.activities
    nodes = graph.activity_nodes(np.arange(len(activities.row)))
    start[activities.row], end[activities.row] = time[nodes] - own[nodes], time[nodes]
    return dataclasses.replace(trace, columns={**trace.columns, "start": start, "end": end})
