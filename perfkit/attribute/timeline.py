"""Timelines: busy and idle of each device, over its steps or its whole span, exact to the nanosecond."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import numpy as np

from perfkit.attribute.blame import Losses
from perfkit.attribute.host import CODE
from perfkit.attribute.idle import explain_gaps
from perfkit.attribute.intervals import Union
from perfkit.attribute.steps import Marks, device_bounds
from perfkit.model.attribution import BUSY_CLASSES, IDLE_CAUSES, Confidence, Step, Timeline, WindowKind
from perfkit.model.columns import MISSING_SMALL
from perfkit.model.program import NO_STEP, StepMarks, StepTimes
from perfkit.model.quantity import percent
from perfkit.model.table import Table
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.attribute.host import Host, Pieces
    from perfkit.attribute.places import Places
    from perfkit.attribute.work import Activities, Work

    Ints = NDArray[np.int64]

__all__ = [
    "Device",
    "Reading",
    "add_by_step",
    "busy_by_class",
    "devices",
    "idle_by_cause",
    "read_device",
    "step_table",
]

ENOUGH_LINKED: Final = 0.95
MUCH_UNATTRIBUTED: Final = 0.05
MOSTLY: Final = 0.5


@dataclass(frozen=True, slots=True)
class Device:
    """The activities of one device of one process (-1: no process is known), by start."""

    process: int
    index: int
    mine: Ints


class Reading(NamedTuple):
    """A timeline with what later passes need: the events its idle time is owed to and the activities in its window.

    ``thread`` is that of a host timeline, -1 for a device. ``host`` is where the host's part of the window begins and
    ends: a host runs ahead of its devices, so it has a window of its own. ``without_work`` names the recorded steps
    that launched nothing here. ``step_times`` is what a replay needs to know of the steps.
    """

    timeline: Timeline
    losses: Losses
    inside: Ints
    dropped: tuple[str, ...]
    host: tuple[int, int]
    thread: int = -1
    without_work: tuple[str, ...] = ()
    step_times: StepTimes | None = None


class Bounds(NamedTuple):
    """Where a window and its steps begin and end: step i is ``[edges[i], edges[i + 1])``.

    ``without_work`` names the recorded steps that launched nothing on the device, and so have no time of their own.
    ``step`` is the step that each activity of the device was launched in, -1 before the first, NO_STEP where not known.
    """

    kind: WindowKind
    edges: Ints
    names: tuple[str, ...]
    dropped: tuple[str, ...]
    only_step: bool
    step: Ints
    host: tuple[int, int] | None = None
    without_work: tuple[str, ...] = ()
    marks: StepMarks | None = None


def devices(work: Work) -> list[Device]:
    """Split the activities by process and device, in that order."""
    activities = work.activities
    key = (activities.owner.astype(np.int64) << 32) + activities.device
    order = np.argsort(key, kind="stable")
    keys, first = np.unique(key[order], return_index=True)
    groups = np.split(order, first[1:]) if len(keys) else []
    found = []
    for mine in groups:
        at = mine[0]
        found.append(Device(int(activities.owner[at]), int(activities.device[at]), mine))
    return found


def window_bounds(work: Work, device: Device, marks: Marks, window: Literal["steps", "device-span"]) -> Bounds:
    """Find the window of a device and its steps; without steps that launched anything it is the device's span."""
    activities = work.activities
    mine = device.mine
    start, end, call = activities.start[mine], activities.end[mine], activities.call[mine]
    if window == "steps" and len(marks):
        launch = np.where(call >= 0, work.calls.start[call], 0) if len(work.calls.start) else np.zeros_like(start)
        step = np.where(call >= 0, marks.of_launches(launch), -1)
        first = int(step[step >= 0].min(initial=len(marks)))
        before = (call >= 0) & (launch < marks.start[min(first, len(marks) - 1)])
        edges, kept = device_bounds(step, before, start, end)
        # The first recorded step is the warm-up; if it launched nothing, no other one is dropped in its place.
        drop = 1 if len(kept) > 1 and kept[0] == 0 else 0
        names = tuple(marks.names[index] for index in kept)
        with_work = set(kept)
        empty = tuple(name for index, name in enumerate(marks.names) if index not in with_work)
        if kept:
            host = int(marks.start[kept[drop]]), int(marks.end[kept[-1]])
            only = len(kept) == 1
            place = np.full(len(marks) + 1, NO_STEP)  # the last element is that of no step
            place[kept] = np.arange(len(kept)) - drop
            told = None
            if marks.thread >= 0:
                of = np.where(np.arange(-1, len(marks)) < first, -1, place[np.arange(-1, len(marks))])
                times = np.append(marks.start, marks.end.max())
                told = StepMarks(marks.thread, times, np.append(of, NO_STEP))
            step = np.where(before, -1, place[step])
            return Bounds("steps", edges[drop:], names[drop:], names[:drop], only, step, host, empty, told)
    edges = np.array([start[0], end.max()])
    return Bounds("device-span", edges, (), (), only_step=False, step=np.zeros(len(mine), np.int64))


def read_device(
    host: Host, places: Places, device: Device, marks: Marks, window: Literal["steps", "device-span"]
) -> Reading:
    """Attribute the window of one device."""
    work = host.work
    activities, mine = work.activities, device.mine
    bounds = window_bounds(work, device, marks, window)
    low, high = int(bounds.edges[0]), int(bounds.edges[-1])
    covered = covered_by_step(activities, mine, bounds.edges)
    busy = Union.of(activities.start[mine], activities.end[mine])
    losses = Losses(host, places)
    time = np.zeros((len(bounds.edges) - 1, len(CODE)), np.int64)
    for pieces in explain_gaps(host, activities, mine, *gaps_between(busy, low, high)):
        add_by_step(time, bounds.edges, pieces)
        losses.add(pieces)
    time[:, CODE["compute"]] = covered["compute"]
    time[:, CODE["exposed_communication"]] = covered["work"] - covered["compute"]
    time[:, CODE["exposed_copy"]] = covered["all"] - covered["work"]
    total = time.sum(axis=0)
    kernel = mine[activities.category[mine] == Category.KERNEL]
    clipped = np.clip(activities.end[kernel], low, high) - np.clip(activities.start[kernel], low, high)
    # What ends with the window is inside, be it without length.
    inside = mine[(activities.start[mine] >= low) & ((activities.start[mine] < high) | (activities.end[mine] == high))]
    unlinked = int((activities.call[mine] < 0).sum())
    confidence, reason = judge(
        bounds,
        idle_by_cause(total),
        unlinked=unlinked / len(mine),
        in_graphs=part_in_graphs(activities, inside),
        impossible=bool(activities.impossible[mine].any()),
        shared=device.process in work.mixed,
    )
    lead_in, lead_out = lead_times(work, device.process, low, high)
    has_index = device.index != MISSING_SMALL
    header = {entry.index: entry for entry in work.trace.devices}.get(device.index)
    process = work.processes[device.process] if device.process >= 0 else ""
    timeline = Timeline(
        id=f"{process or '?'}/gpu{device.index if has_index else '?'}",
        kind="device",
        window_kind=bounds.kind,
        process=process,
        device=device.index if has_index else -1,
        device_name=header.name if header else "",
        uuid=header.uuid if header else "",
        start_ns=low,
        end_ns=high,
        busy=busy_by_class(total),
        kernel_union_ns=int(covered["kernel"].sum()),
        kernel_sum_ns=int(clipped.sum()),
        communication_ns=int(covered["communication"].sum()),
        copy_ns=int(covered["copy"].sum()),
        idle=idle_by_cause(total),
        activities=len(inside),
        unlinked_activities=unlinked,
        lead_in_ns=lead_in,
        lead_out_ns=lead_out,
        confidence=confidence,
        confidence_reason=reason,
        steps=step_table(bounds.names, bounds.edges, time),
    )
    host_window = bounds.host or (low - lead_in, high + lead_out)
    known = bounds.step != NO_STEP
    times = StepTimes(timeline.id, bounds.edges, -1, mine[known], bounds.step[known], bounds.marks)
    return Reading(timeline, losses, inside, bounds.dropped, host_window, -1, bounds.without_work, times)


def add_by_step(time: NDArray[np.int64], edges: Ints, pieces: Pieces) -> None:
    """Add pieces to sums by step (rows) and CODE (columns); no piece crosses an edge."""
    step = np.searchsorted(edges, pieces.start, "right") - 1
    np.add.at(time.reshape(-1), step * time.shape[1] + pieces.cause, pieces.end - pieces.start)  # exact, and one index


def busy_by_class(total: Ints) -> dict[str, int]:
    """Name the time of every busy class."""
    return {name: int(total[CODE[name]]) for name in BUSY_CLASSES}


def idle_by_cause(total: Ints) -> dict[str, int]:
    """Name the time of the idle causes that occur."""
    return {cause: int(total[CODE[cause]]) for cause in IDLE_CAUSES if total[CODE[cause]]}


def step_table(names: tuple[str, ...], edges: Ints, time: NDArray[np.int64]) -> Table[Step]:
    """Make the table of the steps from what `add_by_step` summed."""
    return Table(
        Step(name, int(start), int(end), busy_by_class(total), idle_by_cause(total))
        for name, start, end, total in zip(names, edges[:-1], edges[1:], time, strict=False)
    )


def covered_by_step(activities: Activities, mine: Ints, edges: Ints) -> dict[str, Ints]:
    """Return, for each step, the time covered by a device's activities by what they do; ``work`` is all but copies."""
    category = activities.category[mine]
    communicates = activities.communicates[mine]
    copies = (category == Category.MEMCPY) & ~communicates
    masks = {
        "all": np.ones(len(mine), bool),
        "kernel": category == Category.KERNEL,
        "compute": ~communicates & ~copies,
        "communication": communicates,
        "copy": copies,
        "work": ~copies,
    }
    covered = {}
    for name, mask in masks.items():
        union = Union.of(activities.start[mine[mask]], activities.end[mine[mask]])
        covered[name] = np.diff(union.covered(edges))
    return covered


def gaps_between(union: Union, low: int, high: int) -> tuple[Ints, Ints]:
    """Return the gaps of a union in a window that begins and ends where members do."""
    gap_start, gap_end = union.end[:-1], union.start[1:]
    keep = (gap_end > gap_start) & (gap_start >= low) & (gap_end <= high)
    return gap_start[keep], gap_end[keep]


def lead_times(work: Work, process: int, low: int, high: int) -> tuple[int, int]:
    """Return recorded host time of a process before and after a window."""
    columns = work.trace.columns
    # Waits in the operating system are left out: threads of profiler and driver wait from beginning to end.
    rows = work.trace.rows(Category.OPERATOR, Category.ANNOTATION, Category.RUNTIME, Category.PYTHON, Category.SAMPLE)
    rows = rows[work.process_of_thread[columns["thread"][rows]] == process]
    if not len(rows):
        return 0, 0
    return max(0, low - int(columns["start"][rows].min())), max(0, int(columns["end"][rows].max()) - high)


def part_in_graphs(activities: Activities, inside: Ints) -> float:
    """Return which part of the time of activities is that of graphs recorded as a whole."""
    lasted = (activities.end - activities.start)[inside]
    graph = activities.whole_graph[inside]
    return max(int(lasted[graph].sum()), 1) / max(int(lasted.sum()), 1) if graph.any() else 0.0


def judge(
    bounds: Bounds, idle: dict[str, int], *, unlinked: float, in_graphs: float, impossible: bool, shared: bool
) -> tuple[Confidence, str]:
    """Say how far a timeline can be trusted, and why not further: the first doubt of the lowest confidence."""
    window_ns = int(bounds.edges[-1] - bounds.edges[0])
    unattributed = sum(ns for cause, ns in idle.items() if cause.startswith("unattributed"))
    hidden = "kernels inside CUDA graphs were not recorded: --cuda-graph-trace=node"
    doubts: tuple[tuple[bool, Confidence, str], ...] = (
        (impossible, "low", "some activities have durations that cannot be"),
        (shared, "low", "several programs seem to share one process id: whose launch is whose is a guess"),
        (bounds.only_step, "low", "only one step was recorded, so warm-up cannot be told apart"),
        (
            unlinked > 1 - ENOUGH_LINKED,
            "low",
            f"{percent(unlinked, digits=0)} of the activities have no recorded launch",
        ),
        (in_graphs > MOSTLY, "low", hidden),
        (
            unattributed > MUCH_UNATTRIBUTED * window_ns,
            "medium",
            f"{percent(unattributed, window_ns, digits=0)} of the window is unattributed",
        ),
        (in_graphs > 0, "medium", hidden),
        (bounds.kind != "steps", "medium", "no steps were found, so the window is the device's whole span"),
    )
    return next(((confidence, reason) for doubt, confidence, reason in doubts if doubt), ("high", ""))
