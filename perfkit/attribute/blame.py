"""Who held the device up and who was held up: host events to blame for idle time, and threads that were blocked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.attribute.host import CODE
from perfkit.attribute.intervals import Union, distinct
from perfkit.model.attribution import IDLE_CAUSES, Blame, Blocked
from perfkit.model.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from perfkit.attribute.host import Host, Pieces
    from perfkit.attribute.places import Places
    from perfkit.attribute.timeline import Reading

    Ints = NDArray[np.int64]

__all__ = ["blame", "blocked", "thread_name"]

ROWS_PER_CAUSE: Final = 5


def thread_name(host: Host, thread: int) -> str:
    """Name a thread: its name where that says which it is, else its key."""
    entry = host.work.trace.threads[thread]
    return entry.name if entry.key in entry.name else f"{entry.key} {entry.name}".strip()


def blame(host: Host, places: Places, timeline: str, pieces: Pieces) -> list[Blame]:
    """Return the host events that own most of the idle time of each cause; events of one name on one thread are one."""
    trace = host.work.trace
    columns = trace.columns
    held = np.flatnonzero(pieces.row >= 0)
    rows = python_rows(host, places, pieces, held)
    length = (pieces.end - pieces.start)[held]
    thread = columns["thread"][rows].astype(np.int64)
    key = (pieces.cause[held] * len(trace.threads) + thread) * len(trace.strings) + columns["name"][rows]
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    total = np.bincount(group, weights=length, minlength=len(first))
    found: list[Blame] = []
    cause = pieces.cause[held[first]]
    order = np.argsort(-total, kind="stable")
    for code in np.unique(cause).tolist():
        for index in order[cause[order] == code][:ROWS_PER_CAUSE].tolist():
            members = np.flatnonzero(group == index)
            longest = held[members[np.argmax(length[members])]]
            where = int(thread[first[index]])
            found.append(
                Blame(
                    timeline=timeline,
                    cause=IDLE_CAUSES[code],
                    event=trace.strings[int(columns["name"][rows[first[index]]])],
                    thread=thread_name(host, where),
                    where=places.line_at(where, int(pieces.start[longest])),
                    ns=int(length[members].sum()),
                    gaps=len(distinct(pieces.gap[held[members]])),
                )
            )
    return sorted(found, key=lambda entry: -entry.ns)


def python_rows(host: Host, places: Places, pieces: Pieces, held: Ints) -> Ints:
    """Return the rows to blame; for Python time that is the user's innermost line, or else annotation."""
    rows = pieces.row[held].copy()
    python = np.flatnonzero(pieces.cause[held] == CODE["python"])
    thread = host.work.trace.columns["thread"][rows[python]]
    for index in np.unique(thread).tolist():
        some = python[thread == index]
        for kind in ("annotations", "lines"):
            better = places.innermost(kind, index, pieces.start[held[some]])
            rows[some] = np.where(better >= 0, better, rows[some])
    return rows


def blocked(host: Host, readings: Sequence[Reading]) -> Table[Blocked]:
    """Return the time each host thread was held up by each cause within its process's window, as unions."""
    columns = host.work.trace.columns
    windows: dict[str, tuple[int, int]] = {}
    for reading in readings:
        line = reading.timeline
        low, high = windows.get(line.process, (line.start_ns, line.end_ns))
        windows[line.process] = (min(low, line.start_ns), max(high, line.end_ns))
    found = []
    for thread, entry in enumerate(host.work.trace.threads):
        if entry.process not in windows or host.bounds[thread] == host.bounds[thread + 1]:
            continue
        low, high = windows[entry.process]
        causes = {
            "data_loading": host.loaders(thread),
            "synchronization": host.synchronizations(thread),
            "allocation": host.allocations(thread),
            "compilation": host.compilations(thread),
            "initialization": host.initializations(thread),
        }
        for cause, rows in causes.items():
            start, end = columns["start"][rows], columns["end"][rows]
            held = Union.of(start, end).within(low, high)
            if held:
                calls = int(((start < high) & (end > low)).sum())
                found.append(Blocked(thread_name(host, thread), cause, held, calls, high - low))
    return Table(sorted(found, key=lambda entry: -entry.ns))
