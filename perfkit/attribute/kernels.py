"""What ran on the devices by name, and how long work waited between launch and start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from perfkit.model.attribution import Collective, Copy, Kernel, LaunchDelay
from perfkit.model.table import Table
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from perfkit.attribute.timeline import Reading
    from perfkit.attribute.work import Work

    Ints = NDArray[np.int64]

__all__ = ["collectives", "copies", "kernels", "launch_delays"]


def by_name(names: Ints) -> Iterator[tuple[int, Ints]]:
    """Yield each distinct value with the positions that hold it."""
    order = np.argsort(names, kind="stable")
    distinct, first = np.unique(names[order], return_index=True)
    yield from zip(distinct.tolist(), np.split(order, first[1:]) if len(distinct) else [], strict=True)


def sizes(work: Work, rows: Ints) -> Ints:
    """Return the recorded bytes of rows; 0 where the trace does not say."""
    if "bytes" not in work.trace.columns:
        return np.zeros(len(rows), np.int64)
    size: Ints = np.maximum(work.trace.columns["bytes"][rows], 0)
    return size


def kernels(work: Work, inside: Ints) -> Table[Kernel]:
    """Sum kernels and memsets by name."""
    activities, strings = work.activities, work.trace.strings
    mine = inside[activities.category[inside] != Category.MEMCPY]
    duration = (activities.end - activities.start)[mine]
    triton = work.names.match("device", "triton", activities.row[mine])
    size = sizes(work, activities.row[mine])
    found = []
    for name, members in by_name(activities.name[mine]):
        first = mine[members[0]]
        memset = activities.category[first] == Category.MEMSET
        total = int(duration[members].sum())
        found.append(
            Kernel(
                name=strings[name],
                kind="memset" if memset else "communication" if activities.communicates[first] else "compute",
                calls=len(members),
                device_ns=total,
                mean_ns=total // len(members),
                max_ns=int(duration[members].max()),
                bytes=int(size[members].sum()),
                provenance="triton" if triton[members[0]] else "",
            )
        )
    return Table(sorted(found, key=lambda kernel: -kernel.device_ns))


def copies(work: Work, inside: Ints) -> Table[Copy]:
    """Sum copies by kind, such as ``Memcpy HtoD (Pageable -> Device)``."""
    activities, strings = work.activities, work.trace.strings
    mine = inside[activities.category[inside] == Category.MEMCPY]
    duration = (activities.end - activities.start)[mine]
    size = sizes(work, activities.row[mine])
    found = []
    for name, members in by_name(activities.name[mine]):
        total, moved = int(duration[members].sum()), int(size[members].sum())
        rate = moved * 1e9 / total if total else 0.0
        found.append(Copy(strings[name], len(members), total, moved, rate))
    return Table(sorted(found, key=lambda copy: -copy.device_ns))


def collectives(work: Work, inside: Ints) -> Table[Collective]:
    """Sum communication by the collective's name, or the kernel's where the trace does not name the collective."""
    activities, columns, strings = work.activities, work.trace.columns, work.trace.strings
    mine = inside[activities.communicates[inside]]
    rows = activities.row[mine]
    duration = (activities.end - activities.start)[mine]
    label = activities.name[mine].astype(np.int64)
    if "collective" in columns:
        label = np.where(columns["collective"][rows] >= 0, columns["collective"][rows], label)
    size = sizes(work, rows)
    found = [
        Collective(strings[name], len(members), int(duration[members].sum()), int(size[members].sum()))
        for name, members in by_name(label)
    ]
    return Table(sorted(found, key=lambda collective: -collective.device_ns))


def launch_delays(work: Work, readings: Sequence[Reading]) -> Table[LaunchDelay]:
    """Summarise, for each timeline, the time from a launch call's end to its activity's start."""
    activities, calls = work.activities, work.calls
    found = []
    for reading in readings:
        line = reading.timeline
        linked = reading.inside[activities.call[reading.inside] >= 0]
        delay = np.maximum(activities.start[linked] - calls.end[activities.call[linked]], 0)
        if not len(delay):
            continue
        of_process = np.array([name == line.process for name in work.processes])[calls.process]
        in_window = (calls.start >= line.start_ns) & (calls.start < line.end_ns)
        lost = calls.launches & ~calls.with_activity & of_process & in_window
        middle, high = np.sort(delay)[[(len(delay) - 1) // 2, int(0.9 * (len(delay) - 1))]].tolist()
        launched = np.zeros(len(calls.row), bool)
        launched[activities.call[linked]] = True
        found.append(LaunchDelay(line.id, int(launched.sum()), int(lost.sum()), middle, high, int(delay.max())))
    return Table(found)
