"""What a recording's attribution is, from what the machine knows: its activities and its threads' logs."""

from __future__ import annotations

import bisect
import collections
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulator.host import HostThread
    from tests.simulator.machine import Activity, Machine

BUSY = ("compute", "exposed_communication", "exposed_copy")


@dataclass(frozen=True)
class Timeline:
    """The known attribution of one device: ns by busy class and by idle cause, without zeros."""

    device: int
    start_ns: int
    end_ns: int
    busy: dict[str, int]
    idle: dict[str, int]
    unlinked_activities: int

    @property
    def window_ns(self) -> int:
        """The length of the window."""
        return self.end_ns - self.start_ns


def timelines(machine: Machine, window: str) -> list[Timeline]:
    """Every device's truth over `device-span` or `steps`, in order of device; without devices that ran nothing.

    A device without steps (no marks, or nothing launched in any) has none over `steps`.
    """
    by_device: dict[int, list[Activity]] = collections.defaultdict(list)
    for activity in machine.activities:
        by_device[activity.row.pid].append(activity)
    marks: dict[int, int] = {}
    for process in machine.processes:
        number = len(process.program.steps) if machine.workload.marks else 0
        marks |= dict.fromkeys(process.program.devices, number)
    found = []
    for device, activities in sorted(by_device.items()):
        if window == "device-span":
            span: tuple[int, int] | None = min(a.row.start for a in activities), max(a.row.end for a in activities)
        else:
            span = steps_window(activities, marks[device])
        if span is not None:
            found.append(_timeline(device, activities, span))
    return found


def steps_window(activities: list[Activity], marks: int) -> tuple[int, int] | None:
    """From the start of the first kept step to the end of the last; None where nothing was launched up to the last."""
    ends: dict[int, int] = {}
    for a in activities:
        if a.step is not None:
            ends[a.step] = max(ends.get(a.step, 0), a.row.end)
    if not marks or not ends:
        return None
    first = 1 if 0 in ends else min(ends)
    if first == 1 < marks:  # a first step without work is no warm-up, and no other one is dropped in its place
        start = max(end for step, end in ends.items() if step <= first)
    else:
        start = ends.get(0, min(a.row.start for a in activities if a.step == first or 0 in ends))
    return start, max(ends.values())


def _timeline(device: int, activities: list[Activity], span: tuple[int, int]) -> Timeline:
    """Sweeps the window once: between two neighbouring starts or ends the device does one thing."""
    start, end = span
    changes: dict[int, list[tuple[int, str]]] = collections.defaultdict(list)
    changes[start], changes[end] = [], []
    for a in activities:
        changes[min(max(a.row.start, start), end)].append((1, a.kind))
        changes[min(max(a.row.end, start), end)].append((-1, a.kind))
    spent: dict[str, int] = collections.Counter()
    idle: dict[str, int] = collections.Counter()
    running: dict[str, int] = collections.Counter()
    points = sorted(changes)
    starting: dict[int, list[Activity]] = collections.defaultdict(list)
    for a in activities:
        starting[a.row.start].append(a)
    ending = {(a.row.end, a.row.tid) for a in activities}
    for here, there in itertools.pairwise(points):
        for change, kind in changes[here]:
            running[kind] += change
        kind = next((k for k in BUSY if running[k]), "")
        if kind:
            spent[kind] += there - here
        else:
            idle.update(_explain(here, min(starting[there], key=lambda a: a.row.correlation or 0), ending))
    unlinked = sum(a.launch is None for a in activities)
    known = {cause: ns for cause, ns in idle.items() if ns}
    return Timeline(device, start, end, {k: ns for k, ns in spent.items() if ns}, known, unlinked)


def _explain(gap_start: int, g: Activity, ending: set[tuple[int, int]]) -> dict[str, int]:
    """The ns of the gap before `g` by cause, from who launched it and what that thread was doing.

    `ending` holds when and on which stream anything ended.
    """
    gap_end = g.row.start
    if g.launch is None or g.thread is None:
        return {"unattributed_no_launch": gap_end - gap_start}
    if g.launch.end <= gap_start:
        same = (gap_start, g.row.tid) in ending
        cause = "queued_same_stream" if same else "queued_cross_stream"
        return {"queued_in_graph" if "GraphLaunch" in g.launch.name else cause: gap_end - gap_start}
    returned = min(g.launch.end, gap_end)
    causes: dict[str, int] = collections.Counter({"launch_latency": gap_end - returned})
    synced = gap_start
    if any(start <= gap_start < end for start, end in g.thread.syncs):
        synced = min(max(g.launch.start, gap_start), returned)
    for cause, ns in _spent(g.thread, gap_start, synced).items():
        causes["data_loading" if cause == "data_loading" else "synchronization"] += ns
    for cause, ns in _spent(g.thread, synced, returned).items():
        causes[cause] += ns
    return causes


def _spent(thread: HostThread, start: int, end: int) -> dict[str, int]:
    """The ns of [start, end) by what the thread spent them on; what it did not log it was silent."""
    spent: dict[str, int] = collections.Counter()
    at = max(0, bisect.bisect_right(thread.log, start, key=lambda entry: entry[0]) - 1)
    for low, high, label in thread.log[at:]:
        if low >= end:
            break
        spent[label.name] += max(0, min(high, end) - max(low, start))
    spent["unattributed_host_silent"] += end - start - sum(spent.values())
    return spent
