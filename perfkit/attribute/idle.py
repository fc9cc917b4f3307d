"""Why a device is idle: every gap between its activities, cut into pieces with one cause each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from perfkit.attribute.host import CODE, Host, Pieces, paint
from perfkit.attribute.intervals import Union, distinct

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.attribute.work import Activities

    Ints = NDArray[np.int64]

__all__ = ["explain_gaps"]


def explain_gaps(host: Host, activities: Activities, mine: Ints, gap_start: Ints, gap_end: Ints) -> Pieces:
    """Give every nanosecond of a device's gaps a cause.

    Args:
        host: The host threads.
        activities: All device activities.
        mine: Positions of this device's activities, by start.
        gap_start: Starts of the gaps, ascending; each is the end of an activity.
        gap_end: Ends of the gaps; each is the start of an activity.

    Returns:
        Pieces in order of time that tile the gaps.
    """
    calls = host.work.calls
    ending = mine[np.searchsorted(activities.start[mine], gap_end)]
    call = activities.call[ending]
    linked = call >= 0
    returned = np.where(linked, calls.end[call], gap_end) if len(calls.end) else gap_end
    queued = linked & (returned <= gap_start)
    waiting = linked & ~queued
    gaps = np.arange(len(gap_start))
    found = [
        whole(
            gaps[~linked], gap_start, gap_end, np.full(int((~linked).sum()), CODE["unattributed_no_launch"], np.int8)
        ),
        whole(
            gaps[queued], gap_start, gap_end, queue_causes(host, activities, mine, ending[queued], gap_start[queued])
        ),
    ]
    until = np.minimum(returned, gap_end)
    late = np.flatnonzero(waiting & (until < gap_end))
    latency = np.full(len(late), CODE["launch_latency"], np.int8)
    found.append(Pieces(until[late], gap_end[late], latency, calls.row[call[late]], late))
    thread = np.full(len(call), -1, np.int64)
    thread[waiting] = calls.thread[call[waiting]]
    for index in np.unique(thread[waiting]).tolist():
        some = np.flatnonzero(thread == index)
        found.append(of_thread(host, index, some, gap_start[some], until[some], calls.start[call[some]]))
    order = np.argsort(np.concatenate([pieces.start for pieces in found]), kind="stable")
    return Pieces(
        *(np.concatenate([getattr(pieces, name) for pieces in found])[order] for name in Pieces.__slots__),
    )


def whole(gaps: Ints, gap_start: Ints, gap_end: Ints, cause: NDArray[np.int8]) -> Pieces:
    """Make one piece of each gap."""
    return Pieces(gap_start[gaps], gap_end[gaps], cause, np.full(len(gaps), -1, np.int64), gaps)


def queue_causes(host: Host, activities: Activities, mine: Ints, ending: Ints, gap_start: Ints) -> NDArray[np.int8]:
    """Tell what queued work waited for: its graph, its own stream, or another stream."""
    finish = np.argsort(activities.end[mine], kind="stable")
    ends, streams = activities.end[mine][finish], activities.stream[mine][finish].astype(np.int64)
    # A (time, stream) pair is one key: the pairs present are looked up by binary search.
    known, stream_code = np.unique(streams, return_inverse=True)
    origin = int(ends[0]) if len(ends) else 0
    present = distinct((ends - origin) * len(known) + stream_code)
    code = np.searchsorted(known, activities.stream[ending].astype(np.int64))
    wanted = (gap_start - origin) * len(known) + code
    index = np.minimum(np.searchsorted(present, wanted), max(len(present) - 1, 0))
    same = present[index] == wanted if len(present) else np.zeros(len(wanted), bool)
    graph = host.work.calls.is_graph[activities.call[ending]]
    cause = np.where(same, CODE["queued_same_stream"], CODE["queued_cross_stream"])
    return np.where(graph, CODE["queued_in_graph"], cause).astype(np.int8)


def of_thread(host: Host, thread: int, gaps: Ints, start: Ints, end: Ints, launch: Ints) -> Pieces:
    """Explain the parts of gaps in which a launching thread had not yet launched.

    A synchronization that was open when the gap began owns the time up to the launch, but for data loading: the
    device ran dry because
    the thread waited for it, and what the thread does next could have been done before.
    """
    columns = host.work.trace.columns
    rows = host.synchronizations(thread)
    waits = Union.of(columns["start"][rows], columns["end"][rows])
    open_wait = waits.holding(start)
    until = np.where(open_wait >= 0, np.clip(launch, start, end), start)
    pieces = paint(start, end, host.layers(thread), until, "unattributed_host_silent")
    synchronizing = (pieces.end <= until[pieces.gap]) & (pieces.cause != CODE["data_loading"])
    cause, row = pieces.cause.copy(), pieces.row.copy()
    cause[synchronizing] = CODE["synchronization"]
    row[synchronizing] = rows[waits.first[open_wait[pieces.gap[synchronizing]]]]
    return Pieces(pieces.start, pieces.end, cause, row, gaps[pieces.gap])
