"""Device work and the host calls that caused it: the table the other passes start from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from perfkit.attribute.intervals import sort_by_start
from perfkit.attribute.links import Ends, link
from perfkit.attribute.names import Names
from perfkit.model.columns import MISSING_INT
from perfkit.model.trace import DEVICE_CATEGORIES, Category

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.model.trace import Trace

    Ints = NDArray[np.int64]

__all__ = ["Activities", "Calls", "Work", "collect"]


@dataclass(frozen=True, slots=True)
class Calls:
    """Runtime and driver calls, by start; ``launches`` marks those that hand work to a device."""

    row: Ints
    start: Ints
    end: Ints
    thread: NDArray[np.int32]
    process: NDArray[np.int32]
    correlation: Ints
    is_copy: NDArray[np.bool_]
    is_graph: NDArray[np.bool_]
    launches: NDArray[np.bool_]
    with_activity: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Activities:
    """Device activities, by start, then correlation.

    ``call`` is a position in Calls or -1, ``owner`` the host process or -1, ``track`` the thread column.
    """

    row: Ints
    start: Ints
    end: Ints
    category: NDArray[np.uint8]
    name: NDArray[np.int32]
    track: NDArray[np.int32]
    device: NDArray[np.int32]
    stream: NDArray[np.int32]
    call: Ints
    owner: NDArray[np.int32]
    communicates: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Work:
    """A trace with its device activities linked to the calls that launched them."""

    trace: Trace
    names: Names
    processes: tuple[str, ...]
    process_of_thread: NDArray[np.int32]
    calls: Calls
    activities: Activities


def collect(trace: Trace) -> Work:
    """Find the activities and calls of a trace and link them by correlation within one process."""
    names = Names(trace)
    columns = trace.columns
    processes = tuple(dict.fromkeys(thread.process for thread in trace.threads))
    number = {process: index for index, process in enumerate(processes)}
    process_of_thread = np.array([number[thread.process] for thread in trace.threads], np.int32)

    rows = trace.rows(Category.RUNTIME)
    rows = rows[sort_by_start(columns["start"][rows], rows)]
    call_thread = columns["thread"][rows]
    call_process = process_of_thread[call_thread] if len(rows) else np.empty(0, np.int32)
    call_start = columns["start"][rows]

    acts = trace.rows(*DEVICE_CATEGORIES)
    acts = acts[sort_by_start(columns["start"][acts], columns["correlation"][acts])]
    track = columns["thread"][acts]
    act_process = process_of_thread[track] if len(acts) else np.empty(0, np.int32)
    owner, call = link(
        ends_of(trace, acts),
        (act_process.astype(np.int64) << 32) | columns["device"][acts].astype(np.uint32),
        ends_of(trace, rows),
        call_process,
    )
    with_activity = np.zeros(len(rows), bool)
    with_activity[call[call >= 0]] = True
    is_copy = names.match("runtime", "copy", rows)
    calls = Calls(
        row=rows,
        start=call_start,
        end=columns["end"][rows],
        thread=call_thread,
        process=call_process,
        correlation=columns["correlation"][rows],
        is_copy=is_copy,
        is_graph=names.match("runtime", "graph_launch", rows),
        launches=with_activity | is_copy | names.match("runtime", "launch", rows),
        with_activity=with_activity,
    )
    communicates = names.match("device", "communication", acts)
    if "collective" in columns:
        communicates = communicates | (columns["collective"][acts] >= 0)
    activities = Activities(
        row=acts,
        start=columns["start"][acts],
        end=columns["end"][acts],
        category=columns["category"][acts],
        name=columns["name"][acts],
        track=track,
        device=columns["device"][acts],
        stream=columns["stream"][acts],
        call=call,
        owner=owner,
        communicates=communicates,
    )
    return Work(trace, names, processes, process_of_thread, calls, activities)


def ends_of(trace: Trace, rows: Ints) -> Ends:
    """Return what links rows to one another; without the column, no External id is known."""
    columns = trace.columns
    known = columns["external_id"][rows] if "external_id" in columns else np.full(len(rows), MISSING_INT)
    return Ends(columns["start"][rows], columns["correlation"][rows], known)
