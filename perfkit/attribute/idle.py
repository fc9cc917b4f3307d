"""Why a device is idle: every gap between its activities, cut into pieces with one cause each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.attribute.host import CODE, Host, Pieces, paint
from perfkit.model.arrays import distinct

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from perfkit.attribute.work import Activities

    Ints = NDArray[np.int64]

__all__ = ["explain_gaps"]

BLOCK: Final = 1 << 17
"""Gaps explained at a time."""


def explain_gaps(host: Host, activities: Activities, mine: Ints, gap_start: Ints, gap_end: Ints) -> Iterator[Pieces]:
    """Give every nanosecond of a device's gaps a cause.

    Args:
        host: The host threads.
        activities: All device activities.
        mine: Positions of this device's activities, by start.
        gap_start: Starts of the gaps, ascending; each is the end of an activity.
        gap_end: Ends of the gaps; each is the start of an activity.

    Yields:
        Pieces in order of time that tile the gaps, a block of gaps at a time: memory is bounded by the block.
    """
    ending = mine[np.searchsorted(activities.start[mine], gap_end)]
    same_stream = continues_stream(activities, mine, ending, gap_start)
    for first in range(0, len(gap_start), BLOCK):
        block = slice(first, first + BLOCK)
        call = activities.call[ending[block]]
        yield explain_block(host, call, same_stream[block], gap_start[block], gap_end[block])


def explain_block(host: Host, call: Ints, same_stream: NDArray[np.bool_], gap_start: Ints, gap_end: Ints) -> Pieces:
    """Explain one block of gaps: the calls that launched what ended them (-1: none) decide."""
    calls = host.work.calls
    linked = call >= 0
    returned = np.where(linked, calls.end[call], gap_end) if len(calls.end) else gap_end
    queued = linked & (returned <= gap_start)
    waiting = linked & ~queued
    queue = np.where(same_stream, CODE["queued_same_stream"], CODE["queued_cross_stream"])
    queue = np.where(calls.is_graph[call] & linked, CODE["queued_in_graph"], queue) if len(calls.row) else queue
    whole = np.where(linked, queue, CODE["unattributed_no_launch"]).astype(np.int8)
    at_once = np.flatnonzero(~waiting)
    found = [Pieces(gap_start[at_once], gap_end[at_once], whole[at_once], np.full(len(at_once), -1), at_once)]
    until = np.minimum(returned, gap_end)
    late = np.flatnonzero(waiting & (until < gap_end))
    latency = np.full(len(late), CODE["launch_latency"], np.int8)
    found.append(Pieces(until[late], gap_end[late], latency, calls.row[call[late]], late))
    thread = np.full(len(call), -1, np.int64)
    thread[waiting] = calls.thread[call[waiting]]
    for index in distinct(thread[waiting]).tolist():
        some = np.flatnonzero(thread == index)
        found.append(of_thread(host, index, some, gap_start[some], until[some], calls.start[call[some]]))
    order = np.argsort(np.concatenate([pieces.start for pieces in found]), kind="stable")
    return Pieces(*(np.concatenate([getattr(piece, name) for piece in found])[order] for name in Pieces._fields))


def continues_stream(activities: Activities, mine: Ints, ending: Ints, gap_start: Ints) -> NDArray[np.bool_]:
    """Tell for each gap whether some activity that ends where it starts is on the stream of the one that ends it."""
    known, stream = np.unique(activities.stream[mine], return_inverse=True)
    origin = int(activities.start[mine[0]])
    # A (time, stream) pair is one integer: the pairs present are looked up by binary search.
    present = distinct((activities.end[mine] - origin) * len(known) + stream)
    wanted = (gap_start - origin) * len(known) + np.searchsorted(known, activities.stream[ending])
    index = np.minimum(np.searchsorted(present, wanted), len(present) - 1)
    same: NDArray[np.bool_] = present[index] == wanted
    return same


def of_thread(host: Host, thread: int, gaps: Ints, start: Ints, end: Ints, launch: Ints) -> Pieces:
    """Explain the parts of gaps in which a launching thread had not yet launched.

    A synchronization that was open when the gap began owns the time up to the launch, but for data loading: the
    device ran dry because the thread waited for it, and what the thread does next could have been done before.
    """
    waits = host.waits(thread)
    open_wait = waits.holding(start)
    until = np.where(open_wait >= 0, np.clip(launch, start, end), start)
    pieces = paint(start, end, host.layers(thread), until, "unattributed_host_silent")
    synchronizing = (pieces.end <= until[pieces.gap]) & (pieces.cause != CODE["data_loading"])
    cause, row = pieces.cause.copy(), pieces.row.copy()
    cause[synchronizing] = CODE["synchronization"]
    row[synchronizing] = waits.row[open_wait[pieces.gap[synchronizing]]]
    return Pieces(pieces.start, pieces.end, cause, row, gaps[pieces.gap])
