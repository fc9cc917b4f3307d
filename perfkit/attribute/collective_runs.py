"""The runs of collectives on one device: when, what, and where the time between them and inside them goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.attribute.collective_labels import label_runs
from perfkit.attribute.host import CODE
from perfkit.attribute.idle import explain_gaps
from perfkit.attribute.intervals import EMPTY, Union, spread
from perfkit.attribute.timeline import add_by_step, covered_by_step, gaps_between
from perfkit.model.fleet import CollectiveRuns
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.attribute.host import Host
    from perfkit.attribute.places import Places
    from perfkit.attribute.timeline import Device
    from perfkit.attribute.work import Work

    Ints = NDArray[np.int64]

__all__ = ["NO_RUNS", "collective_runs"]

MOST_RUNS: Final = 100_000
"""Runs kept of one rank, the first ones."""
MOST_PIECES: Final = 400_000
"""Stretches of exposed communication kept; where there are more, neighbours are moved together."""

NO_RUNS: Final = CollectiveRuns(
    groups=(),
    buckets=(),
    kind=np.empty(0, np.int8),
    group=np.empty(0, np.int32),
    bytes=EMPTY,
    sequence=EMPTY,
    start_ns=EMPTY,
    end_ns=EMPTY,
    stream=np.empty(0, np.int32),
    exposed_ns=EMPTY,
    since_ns=np.empty((0, 0), np.int64),
    piece_run=np.empty(0, np.int32),
    piece_start_ns=EMPTY,
    piece_end_ns=EMPTY,
    window_start_ns=0,
    window_end_ns=0,
    left_out=0,
    left_out_exposed_ns=0,
)
"""What a rank that does not communicate has."""


def collective_runs(host: Host, places: Places, device: Device, window: tuple[int, int]) -> CollectiveRuns:
    """Find the runs of collectives on a device.

    Args:
        host: The host threads.
        places: Look-ups on them.
        device: The device.
        window: Start and end of the window of its timeline, ns.

    Returns:
        The runs by start, the first `MOST_RUNS` of them.
    """
    work = host.work
    activities = work.activities
    runs = device.mine[activities.communicates[device.mine]]
    runs = runs[np.lexsort((activities.end[runs], activities.start[runs]))]
    if not len(runs):
        return NO_RUNS._replace(window_start_ns=window[0], window_end_ns=window[1])
    piece_run, piece_start, piece_end = exposed_pieces(work, device, runs, window)
    inside = (piece_start >= window[0]) & (piece_end <= window[1])
    length = np.where(inside, piece_end - piece_start, 0)
    exposed = np.zeros(len(runs), np.int64)
    np.add.at(exposed, piece_run, length)
    keep = piece_run < MOST_RUNS
    piece_run, piece_start, piece_end = merged(piece_run[keep], piece_start[keep], piece_end[keep], inside[keep])
    kept = runs[:MOST_RUNS]
    labels = label_runs(work, places, kept)
    buckets, since = time_between(host, device, activities.start[kept])
    return CollectiveRuns(
        groups=labels.groups,
        buckets=buckets,
        kind=labels.kind,
        group=labels.group,
        bytes=labels.bytes,
        sequence=labels.sequence,
        start_ns=activities.start[kept],
        end_ns=activities.end[kept],
        stream=np.maximum(activities.stream[kept], -1),
        exposed_ns=exposed[:MOST_RUNS],
        since_ns=since,
        piece_run=piece_run.astype(np.int32),
        piece_start_ns=piece_start,
        piece_end_ns=piece_end,
        window_start_ns=window[0],
        window_end_ns=window[1],
        left_out=len(runs) - len(kept),
        left_out_exposed_ns=int(exposed[MOST_RUNS:].sum()),
    )


def exposed_pieces(work: Work, device: Device, runs: Ints, window: tuple[int, int]) -> tuple[Ints, Ints, Ints]:
    """Return the stretches in which communication runs and nothing computes, cut at the window: owner, start, end.

    The owner is the earliest of the runs that are open: run i owns what begins at its start or at the end of all before
    it, whichever is later.
    """
    activities = work.activities
    start, end = activities.start[runs], activities.end[runs]
    reach = np.maximum.accumulate(end)
    begin = start.copy()
    begin[1:] = np.maximum(start[1:], reach[:-1])
    owner = np.flatnonzero(end > begin)
    mine = device.mine
    computes = mine[(activities.category[mine] != Category.MEMCPY) & ~activities.communicates[mine]]
    busy = Union.of(activities.start[computes], activities.end[computes])
    far = np.iinfo(np.int64).max
    free_start, free_end = np.concatenate(([-far], busy.end)), np.concatenate((busy.start, [far]))
    # Each run crosses the free stretches first ... last; what they have in common is exposed.
    first = np.searchsorted(free_end, begin[owner], "right")
    last = np.searchsorted(free_start, end[owner], "left")
    free = spread(first, last)
    run = np.repeat(owner, last - first)
    piece_start, piece_end = np.maximum(begin[run], free_start[free]), np.minimum(end[run], free_end[free])
    for edge in window:
        crossing = np.flatnonzero((piece_start < edge) & (edge < piece_end))
        run = np.insert(run, crossing + 1, run[crossing])
        piece_start = np.insert(piece_start, crossing + 1, edge)
        piece_end = np.insert(piece_end, crossing, edge)
    some = piece_end > piece_start
    return run[some], piece_start[some], piece_end[some]


def merged(run: Ints, start: Ints, end: Ints, inside: NDArray[np.bool_]) -> tuple[Ints, Ints, Ints]:
    """Move neighbours of one run together until at most some `MOST_PIECES` are left; their lengths are kept."""
    if len(run) <= MOST_PIECES:
        return run, start, end
    new = np.append(True, (run[1:] != run[:-1]) | (inside[1:] != inside[:-1]))
    first = np.flatnonzero(new)
    place = np.arange(len(run)) - np.repeat(first, np.diff(np.append(first, len(run))))
    new |= place % -(-len(run) // MOST_PIECES) == 0
    first = np.flatnonzero(new)
    return run[first], start[first], start[first] + np.add.reduceat(end - start, first)


def time_between(host: Host, device: Device, starts: Ints) -> tuple[tuple[str, ...], Ints]:
    """Return the time from each start to the next by bucket, the first from the device's first activity.

    The runs' starts are edges of windows, exactly as steps are; no gap crosses one, since gaps end at activities.

    Returns:
        The names of the buckets that occur, and ``[len(starts), len(buckets)]``.
    """
    activities, mine = host.work.activities, device.mine
    low, high = int(activities.start[mine[0]]), int(starts[-1])
    edges = np.concatenate(([low], starts))
    covered = covered_by_step(activities, mine, edges)
    busy = Union.of(activities.start[mine], activities.end[mine])
    time = np.zeros((len(starts), len(CODE)), np.int64)
    for pieces in explain_gaps(host, activities, mine, *gaps_between(busy, low, high)):
        add_by_step(time, edges, pieces)
    time[:, CODE["compute"]] = covered["compute"]
    time[:, CODE["exposed_communication"]] = covered["work"] - covered["compute"]
    time[:, CODE["exposed_copy"]] = covered["all"] - covered["work"]
    occurs = np.flatnonzero(time.any(axis=0))
    names = tuple(CODE)
    return tuple(names[code] for code in occurs.tolist()), time[:, occurs]
