"""The Program of a trace: what the replay starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from perfkit.attribute.intervals import Union
from perfkit.model.columns import MISSING_SMALL
from perfkit.model.program import WAITS, Program, Spans
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from perfkit.attribute.host import Host
    from perfkit.attribute.timeline import Reading

__all__ = ["describe"]


def describe(host: Host, readings: Sequence[Reading]) -> Program:
    """Say what the host threads and devices of a trace did, for a replay."""
    work = host.work
    match, rows = work.names.match, work.calls.row
    waits = np.zeros(len(rows), np.int8)
    waits[match("runtime", "synchronize", rows)] = WAITS.index("stream")
    waits[match("runtime", "device_wide", rows)] = WAITS.index("device")
    waits[match("runtime", "blocking_copy", rows) | host.copies_to_host | staged_copies(host)] = WAITS.index("own_copy")
    loaded = loading(host)
    return Program(
        calls=work.calls,
        activities=work.activities,
        waits=waits,
        waited_stream=waited_streams(host),
        records_event=match("runtime", "event_record", rows),
        awaits_event=match("runtime", "event_wait", rows),
        host=spans(host, [host.rows]),
        loading=loaded,
        loaded_by_workers=match("host", "worker_loader", loaded.row),
        process_of_thread=work.process_of_thread,
        steps=tuple(reading.step_times for reading in readings if reading.step_times),
    )


def staged_copies(host: Host) -> NDArray[np.bool_]:
    """Mark, among the calls, those that copied from or to pageable memory and returned once the copy had begun.

    The driver copies such memory by way of its own: it waits for the stream first, and returns when it has it all.
    """
    work = host.work
    activities, calls = work.activities, work.calls
    copies = np.flatnonzero((activities.category == Category.MEMCPY) & (activities.call >= 0))
    copies = copies[work.names.match("device", "pageable", activities.row[copies])]
    staged = np.zeros(len(calls.row), bool)
    staged[activities.call[copies[calls.end[activities.call[copies]] >= activities.start[copies]]]] = True
    return staged


def waited_streams(host: Host) -> NDArray[np.int32]:
    """Return the stream that each call waits for: profilers keep it in a record of its own, of the same correlation."""
    work = host.work
    columns, calls = work.trace.columns, work.calls
    rows = work.trace.rows(Category.SYNC_RECORD)
    found = np.full(len(calls.row), MISSING_SMALL, np.int32)
    stream = columns["stream"][rows]
    rows, stream = rows[stream >= 0], stream[stream >= 0]
    if len(work.processes) == 1 and len(rows):  # of several, a record does not say whose it is
        order = np.argsort(columns["correlation"][rows], kind="stable")
        known = columns["correlation"][rows][order]
        at = np.minimum(np.searchsorted(known, calls.correlation), len(known) - 1)
        found = np.where(known[at] == calls.correlation, stream[order][at], found)
    return found


def loading(host: Host) -> Spans:
    """Return when the threads were loading data; within what is loaded, nothing is."""
    columns = host.work.trace.columns
    outermost = []
    for thread in range(len(host.bounds) - 1):
        rows = host.loaders(thread)
        outermost.append(rows[Union.of(columns["start"][rows], columns["end"][rows]).first])
    return spans(host, outermost)


def spans(host: Host, rows: Sequence[NDArray[Any]]) -> Spans:
    """Return rows, by thread, then start, as spans."""
    columns = host.work.trace.columns
    row = np.concatenate([np.empty(0, np.int64), *rows])
    return Spans(columns["thread"][row], columns["start"][row], columns["end"][row], row)
