"""The rows of a timeline: who owns the time of a device, its streams, and the host threads that feed it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import numpy as np

from perfkit.attribute.blame import thread_name
from perfkit.attribute.forest import levels
from perfkit.attribute.host import CODE, Layer, Pieces, paint
from perfkit.attribute.host_timeline import layers
from perfkit.attribute.idle import explain_gaps
from perfkit.attribute.intervals import Nest, Union
from perfkit.attribute.timeline import gaps_between
from perfkit.model.arrays import distinct
from perfkit.model.attribution import IDLE_CAUSES
from perfkit.model.picture import KINDS, Track
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from perfkit.attribute.host import Host
    from perfkit.attribute.timeline import Device, Reading

    Ints = NDArray[np.int64]
    Role = Literal["owners", "stream", "thread"]

__all__ = ["device_owners", "streams", "thread_owners", "threads"]

OWNER_OF_CODE: Final = np.array([KINDS.index(name) for name in CODE])
"""CODE of attribution to index into KINDS."""
SHOWN: Final = (
    Category.OPERATOR,
    Category.ANNOTATION,
    Category.RUNTIME,
    Category.PYTHON,
    Category.OVERHEAD,
    Category.OS_CALL,
)
KIND_OF_CATEGORY: Final = {
    Category.OPERATOR: "operator",
    Category.ANNOTATION: "annotation",
    Category.RUNTIME: "call",
    Category.PYTHON: "line",
    Category.OVERHEAD: "overhead",
    Category.OS_CALL: "system",
    Category.SAMPLE: "sample",
    Category.KERNEL: "kernel",
    Category.MEMCPY: "copy",
    Category.MEMSET: "memset",
}


class Identity(NamedTuple):
    """What a track says of itself."""

    timeline: str
    group: str
    label: str


def kinds(categories: NDArray[np.uint8]) -> Ints:
    """Return the kind of each category."""
    code = np.zeros(256, np.int64)
    for category, name in KIND_OF_CATEGORY.items():
        code[category] = KINDS.index(name)
    return code[categories]


def track_of(role: Role, identity: Identity, cells: Sequence[Ints]) -> Track:
    """Make a track of start, end, level, kind, name and row."""
    start, end, level, kind, name, row = cells
    timeline, group, label = identity
    return Track(role, timeline, group, label, start, end, level, kind, name, np.ones(len(start), np.int64), row)


def device_owners(host: Host, device: Device, reading: Reading, group: str) -> Track:
    """Return who owns the time of a device in its window: what it does, or why it does nothing."""
    activities, mine = host.work.activities, device.mine
    line = reading.timeline
    low, high = line.start_ns, line.end_ns
    start, end = activities.start[mine], activities.end[mine]
    busy = Union.of(start, end)
    found = list(explain_gaps(host, activities, mine, *gaps_between(busy, low, high)))
    communicates = activities.communicates[mine]
    copies = (activities.category[mine] == Category.MEMCPY) & ~communicates
    parts = {"compute": ~communicates & ~copies, "exposed_communication": communicates}
    owners = [Layer.of(cause, activities.row[mine[mask]], start[mask], end[mask]) for cause, mask in parts.items()]
    inside = (busy.start < high) & (busy.end > low)
    if inside.any():
        window = np.maximum(busy.start[inside], low), np.minimum(busy.end[inside], high)
        found.append(paint(*window, owners, np.empty(0, np.int64), "exposed_copy"))
    return owners_track(host, Identity(line.id, group, "who owns the time"), found)


def thread_owners(host: Host, reading: Reading, group: str) -> Track:
    """Return who owns the time of a host thread in its window."""
    line = reading.timeline
    window = np.array([line.start_ns]), np.array([line.end_ns])
    pieces = paint(*window, layers(host, reading.thread), np.empty(0, np.int64), "unattributed_host_silent")
    return owners_track(host, Identity(line.id, group, "who owns the time"), [pieces])


def owners_track(host: Host, identity: Identity, found: Sequence[Pieces]) -> Track:
    """Return pieces as a track; neighbours of one owner and name are one element."""
    start, end, cause, row, _ = (
        np.concatenate([np.empty(0, np.int64), *(getattr(pieces, name) for pieces in found)]).astype(np.int64)
        for name in Pieces._fields
    )
    names = host.work.trace.columns["name"]
    name = np.where((row >= 0) & (cause < len(IDLE_CAUSES)), np.maximum(names[row], -1), -1)
    order = np.argsort(start, kind="stable")
    order = order[(end > start)[order]]
    start, end, cause, name = start[order], end[order], cause[order], name[order].astype(np.int64)
    opens = np.ones(len(start), bool)
    opens[1:] = (start[1:] != end[:-1]) | (cause[1:] != cause[:-1]) | (name[1:] != name[:-1])
    first = np.flatnonzero(opens)
    end = end[np.append(first[1:], len(start))[: len(first)] - 1]
    kind = OWNER_OF_CODE[cause[first]]
    none = np.zeros(len(first), np.int64)
    return track_of("owners", identity, (start[first], end, none, kind, name[first], none - 1))


def streams(host: Host, device: Device, reading: Reading, group: str) -> list[Track]:
    """Return the streams of a device; work that overlaps on one of them is drawn on levels."""
    activities, trace = host.work.activities, host.work.trace
    track = activities.track[device.mine]
    found = []
    for index in distinct(track).tolist():
        mine = device.mine[track == index]
        kind = kinds(activities.category[mine])
        kind[activities.communicates[mine]] = KINDS.index("communication")
        name = np.maximum(activities.name[mine], -1).astype(np.int64)
        identity = Identity(reading.timeline.id, group, trace.threads[index].name or trace.threads[index].key)
        cells = activities.start[mine], activities.end[mine], kind, name, activities.row[mine]
        found.append(nested("stream", identity, cells))
    return found


def nested(role: Role, identity: Identity, cells: Sequence[Ints]) -> Track:
    """Return a track of start, end, kind, name and row, with levels by nesting, ordered by level and start."""
    start, end, kind, name, row = cells
    nest = Nest(start, end)
    level = levels(nest)
    order = np.lexsort((nest.start, level))
    place = nest.order[order]
    return track_of(role, identity, (start[place], end[place], level[order], kind[place], name[place], row[place]))


def threads(host: Host, most: int | None, group_of: Callable[[str], str]) -> tuple[list[Track], int]:
    """Return the host threads, those that do most first, and how many are left out.

    Args:
        host: The host threads.
        most: How many to show, and of Python only the user's lines and modules; None shows everything.
        group_of: What to call the group of a process.
    """
    trace = host.work.trace
    rows_of = {}
    for thread in range(len(host.bounds) - 1):
        rows = host.of_thread(thread, *SHOWN)
        if not len(rows):
            rows = host.of_thread(thread, Category.SAMPLE)
        elif most is not None:
            python = trace.columns["category"][rows] == Category.PYTHON
            library = host.work.names.match("python", "library", rows) & ~host.work.names.match(
                "python", "module", rows
            )
            rows = rows[~python | ~library]
        if len(rows):
            rows_of[thread] = rows
    chosen = sorted(rows_of, key=lambda thread: worth(host, thread, rows_of[thread]), reverse=True)
    left_out = len(chosen) - len(chosen[:most])
    found = []
    processes = list(dict.fromkeys(trace.threads[thread].process for thread in chosen))
    for thread in sorted(chosen[:most], key=lambda thread: processes.index(trace.threads[thread].process)):
        process = trace.threads[thread].process
        identity = Identity("", group_of(process), thread_name(host, thread))
        rows = rows_of[thread]
        cells = trace.columns["start"][rows], trace.columns["end"][rows], host_kinds(host, thread, rows)
        name = np.maximum(trace.columns["name"][rows], -1).astype(np.int64)
        found.append(nested("thread", identity, (*cells, name, rows)))
    return found, left_out


def worth(host: Host, thread: int, rows: Ints) -> tuple[int, int]:
    """Return what makes a thread worth showing: work that it launches, then events other than waits of the system."""
    call = host.call_at[rows]
    launches = int(host.work.calls.launches[call[call >= 0]].sum()) if len(host.work.calls.row) else 0
    system = int((host.work.trace.columns["category"][rows] == Category.OS_CALL).sum())
    return (launches, len(rows) - system)


def host_kinds(host: Host, thread: int, rows: Ints) -> Ints:
    """Return the kind of each row of a host thread."""
    kind = kinds(host.work.trace.columns["category"][rows])
    call = host.call_at[rows]
    if len(host.work.calls.row):
        kind[(call >= 0) & host.work.calls.launches[call]] = KINDS.index("launch")
    kind[np.isin(rows, host.synchronizations(thread))] = KINDS.index("wait")
    kind[np.isin(rows, host.loaders(thread))] = KINDS.index("data_loading")
    python = host.work.trace.columns["category"][rows] == Category.PYTHON
    kind[python & host.work.names.match("python", "module", rows)] = KINDS.index("module")
    return kind
