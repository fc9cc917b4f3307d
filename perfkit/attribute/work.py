"""Device work and the host calls that caused it: the table the other passes start from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from perfkit.attribute.intervals import sort_by_start
from perfkit.attribute.links import Ends, link
from perfkit.attribute.mixed import mixed_processes
from perfkit.attribute.names import Names
from perfkit.model.arrays import distinct
from perfkit.model.columns import MISSING_INT
from perfkit.model.program import Activities, Calls
from perfkit.model.trace import DEVICE_CATEGORIES, Category

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.model.trace import Trace

    Ints = NDArray[np.int64]

__all__ = ["Activities", "Calls", "Work", "collect"]

CLOCK_SKEW_NS: Final = 1_000_000
"""The clocks of host and device agree at least this well within one recording."""
LAST: Final = np.iinfo(np.int64).max
"""Of activities that start together, one without a correlation comes after the others."""


class Work(NamedTuple):
    """A trace with its device activities linked to the calls that launched them.

    ``mixed`` holds the processes that seem to be several programs under one id.
    """

    trace: Trace
    names: Names
    processes: tuple[str, ...]
    process_of_thread: NDArray[np.int32]
    calls: Calls
    activities: Activities
    mixed: frozenset[int]


def collect(trace: Trace) -> Work:
    """Find the activities and calls of a trace and link them by correlation within one process."""
    names = Names(trace)
    columns = trace.columns
    owners = [thread.owner for thread in trace.threads]
    processes = tuple(dict.fromkeys([*(thread.process for thread in trace.threads), *filter(None, owners)]))
    number = {process: index for index, process in enumerate(processes)}
    process_of_thread = np.array([number[thread.process] for thread in trace.threads], np.int32)
    owner_of_thread = np.array([number[owner] if owner else -1 for owner in owners], np.int32)

    rows = trace.rows(Category.RUNTIME)
    rows = rows[sort_by_start(columns["start"][rows], rows)]
    acts = trace.rows(*DEVICE_CATEGORIES)
    number_of = columns["correlation"][acts]
    acts = acts[sort_by_start(columns["start"][acts], np.where(number_of == MISSING_INT, LAST, number_of))]
    call_process = process_of_thread[columns["thread"][rows]] if len(rows) else np.empty(0, np.int32)
    act_process = process_of_thread[columns["thread"][acts]] if len(acts) else np.empty(0, np.int32)
    device = (act_process.astype(np.int64) << 32) | columns["device"][acts].astype(np.uint32)
    named = owner_of_thread[columns["thread"][acts]] if len(acts) else np.empty(0, np.int32)
    owner, call = link(ends_of(trace, acts), device, ends_of(trace, rows), call_process, named)
    calls = make_calls(names, rows, call_process, call)
    activities = make_activities(names, acts, owner, call)
    impossible = outlasts_synchronization(names, activities, calls)
    activities.impossible[impossible] = True
    activities.end[impossible] = activities.start[impossible]
    return Work(trace, names, processes, process_of_thread, calls, activities, mixed_processes(calls))


def make_calls(names: Names, rows: Ints, process: NDArray[np.int32], used: Ints) -> Calls:
    """Make the table of the calls in these rows; ``used`` holds the positions of those that own an activity."""
    columns = names.trace.columns
    with_activity = np.zeros(len(rows), bool)
    with_activity[used[used >= 0]] = True
    is_copy = names.match("runtime", "copy", rows)
    return Calls(
        row=rows,
        start=columns["start"][rows],
        end=columns["end"][rows],
        thread=columns["thread"][rows],
        process=process,
        correlation=columns["correlation"][rows],
        is_copy=is_copy,
        is_graph=names.match("runtime", "graph_launch", rows),
        launches=with_activity | is_copy | names.match("runtime", "launch", rows),
        with_activity=with_activity,
    )


def make_activities(names: Names, rows: Ints, owner: NDArray[np.int32], call: Ints) -> Activities:
    """Make the table of the activities in these rows."""
    columns = names.trace.columns
    communicates = names.match("device", "communication", rows)
    if "collective" in columns:
        communicates = communicates | (columns["collective"][rows] >= 0)
    return Activities(
        row=rows,
        start=columns["start"][rows],
        end=columns["end"][rows],
        category=columns["category"][rows],
        name=columns["name"][rows],
        track=columns["thread"][rows],
        device=columns["device"][rows],
        stream=columns["stream"][rows],
        call=call,
        owner=owner,
        communicates=communicates,
        whole_graph=names.match("device", "whole_graph", rows) & (columns["category"][rows] == Category.KERNEL),
        impossible=np.zeros(len(rows), bool),
    )


def outlasts_synchronization(names: Names, activities: Activities, calls: Calls) -> Ints:
    """Return the activities that end well after a device-wide synchronization that had waited for them returned.

    Such a duration is a fault of the recording. A process that drives several devices is not judged: a call waits for
    one of them, and does not say for which.
    """
    waits = np.flatnonzero(names.match("runtime", "device_wide", calls.row))
    found = [np.empty(0, np.int64)]
    for process in distinct(calls.process[waits]).tolist():
        mine = np.flatnonzero((activities.owner == process) & (activities.call >= 0))
        wait = waits[calls.process[waits] == process]
        if not len(mine) or (activities.device[mine] != activities.device[mine[0]]).any():
            continue
        following = np.searchsorted(calls.start[wait], calls.end[activities.call[mine]])
        mine, following = mine[following < len(wait)], following[following < len(wait)]
        returned = calls.end[wait[following]]
        late = activities.end[mine] > returned + CLOCK_SKEW_NS
        # Where the device's clock is late, too, an activity still takes no longer than from its launch to then.
        long = activities.end[mine] - activities.start[mine] > returned - calls.start[activities.call[mine]]
        found.append(mine[late & long])
    return np.concatenate(found)


def ends_of(trace: Trace, rows: Ints) -> Ends:
    """Return what links rows to one another; without the column, no External id is known."""
    columns = trace.columns
    known = columns["external_id"][rows] if "external_id" in columns else np.full(len(rows), MISSING_INT)
    return Ends(columns["start"][rows], columns["correlation"][rows], known)
