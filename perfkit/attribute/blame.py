"""Who held the device up and who was held up: host events to blame for idle time, and threads that were blocked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.attribute.intervals import Union
from perfkit.attribute.places import Places
from perfkit.model.attribution import IDLE_CAUSES, Blame, Blocked
from perfkit.model.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from perfkit.attribute.host import Host, Pieces
    from perfkit.attribute.timeline import Reading

    Ints = NDArray[np.int64]

__all__ = ["blame", "blocked", "thread_name"]

ROWS_PER_CAUSE: Final = 5


def thread_name(host: Host, thread: int) -> str:
    """Name a thread by its key and, if it has one, its name."""
    entry = host.work.trace.threads[thread]
    return f"{entry.key} {entry.name}".strip() if entry.name != entry.key else entry.key


def blame(host: Host, places: Places, timeline: str, pieces: Pieces) -> list[Blame]:
    """Return the host events that own most of the idle time of each cause; events of one name on one thread and line are one."""
    trace = host.work.trace
    columns = trace.columns
    held = np.flatnonzero(pieces.row >= 0)
    rows, length = pieces.row[held], (pieces.end - pieces.start)[held]
    thread = columns["thread"][rows]
    key = np.stack([pieces.cause[held].astype(np.int64), columns["name"][rows].astype(np.int64), thread.astype(np.int64)])
    groups, group = np.unique(key, axis=1, return_inverse=True)
    total = np.bincount(group.ravel(), weights=length, minlength=groups.shape[1]).astype(np.int64)
    found: list[Blame] = []
    order = np.argsort(-total, kind="stable")
    for code in np.unique(groups[0]).tolist():
        for index in order[groups[0][order] == code][:ROWS_PER_CAUSE].tolist():
            members = np.flatnonzero(group.ravel() == index)
            longest = held[members[np.argmax(length[members])]]
            _, name, where = groups[:, index].tolist()
            found.append(
                Blame(
                    timeline=timeline,
                    cause=IDLE_CAUSES[code],
                    event=trace.strings[name],
                    thread=thread_name(host, where),
                    where=places.line_at(where, int(pieces.start[longest])),
                    ns=int(length[members].sum()),
                    gaps=len(np.unique(pieces.gap[held[members]])),
                )
            )
    return sorted(found, key=lambda entry: -entry.ns)


def blocked(host: Host, readings: Sequence[Reading]) -> Table[Blocked]:
    """Return, for every host thread, the union of the time it spent held up by each cause within its process's window."""
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
