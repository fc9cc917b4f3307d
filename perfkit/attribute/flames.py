"""Flame graphs: time of devices by where it was launched, and of host threads by where it was spent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import numpy as np

from perfkit.attribute.blame import thread_name
from perfkit.attribute.forest import Forest, generations
from perfkit.attribute.intervals import Nest
from perfkit.attribute.operators import ForwardModules
from perfkit.model.arrays import distinct
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from perfkit.attribute.host import Host
    from perfkit.attribute.places import Places
    from perfkit.attribute.timeline import Reading
    from perfkit.model.picture import Flame

    Ints = NDArray[np.int64]
    By = Literal["module", "line"]

__all__ = ["Texts", "flames"]

NO_LAUNCH: Final = "(no recorded launch)"


class Texts:
    """The strings of a trace and others beside them, each with a number."""

    def __init__(self, host: Host) -> None:
        """Begin with the strings of the trace."""
        self.strings = host.work.trace.strings
        self.others: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Return the number of a text that is not of the trace."""
        return len(self.strings) + self.others.setdefault(text, len(self.others))

    def of(self, numbers: list[int]) -> tuple[str, ...]:
        """Return the texts of some numbers."""
        others, known = list(self.others), len(self.strings)
        return tuple(self.strings[number] if number < known else others[number - known] for number in numbers)


class Planted(NamedTuple):
    """The frames of the rows of one kind of one thread, by position in the nest's own order; ``row`` is the row."""

    nest: Nest
    row: Ints
    frame: Ints


class Gardener:
    """Knows where in the program the rows of a trace are; ``by`` says what a place is."""

    def __init__(self, host: Host, places: Places, texts: Texts, by: By, steps: frozenset[int]) -> None:
        """Look at nothing yet."""
        self.host, self.places, self.texts, self.by, self.steps = host, places, texts, by, steps
        self.forest = Forest()
        self.name = host.work.trace.columns["name"]
        self.planted: dict[int, Planted] = {}
        self.stacks: dict[int, int] = {}
        self.forward = ForwardModules(host.work, places)

    def frames_of(self, thread: int) -> Planted:
        """Return the frames of the modules and annotations of a thread, or of its lines of Python."""
        if thread not in self.planted:
            rows = self.rows_of(thread)
            columns = self.host.work.trace.columns
            nest = Nest(columns["start"][rows], columns["end"][rows])
            ordered = rows[nest.order].astype(np.int64)
            ground = np.full(len(rows), -1, np.int64)
            self.planted[thread] = Planted(nest, ordered, self.forest.plant(nest, self.name[ordered], ground))
        return self.planted[thread]

    def rows_of(self, thread: int) -> Ints:
        """Return the rows of a thread that make places, steps aside."""
        host = self.host
        python = host.of_thread(thread, Category.PYTHON)
        if self.by == "line":
            return python[~host.work.names.match("python", "library", python)]
        modules = python[host.work.names.match("python", "module", python)]
        marked = host.of_thread(thread, Category.ANNOTATION)
        marked = marked[~np.isin(self.name[marked], list(self.steps))]
        return np.concatenate([modules, marked])

    def frame_at(self, thread: int, times: Ints) -> Ints:
        """Return the frame around each time on a thread, or -1."""
        planted = self.frames_of(thread)
        at = planted.nest.innermost(times)  # a position in the order of the rows given
        place = np.empty(len(planted.row), np.int64)
        place[planted.nest.order] = np.arange(len(planted.row))
        return np.where(at >= 0, planted.frame[place[at]], -1) if len(place) else at

    def place(self, thread: int, times: Ints, operator: Ints) -> Ints:
        """Return the frame of each time on a thread; or that of its operator's stack or forward one."""
        frame = self.frame_at(thread, times)
        lost = np.flatnonzero((frame < 0) & (operator >= 0))
        if not len(lost):
            return frame
        if self.by == "line":
            frame[lost] = self.of_stacks(operator[lost])
            return frame
        module = self.forward.of(operator[lost])
        columns = self.host.work.trace.columns
        for other in distinct(columns["thread"][module[module >= 0]]).tolist():
            some = np.flatnonzero((module >= 0) & (columns["thread"][module] == other))
            frame[lost[some]] = self.frame_at(other, columns["start"][module[some]])
        return frame

    def of_stacks(self, operator: Ints) -> Ints:
        """Return the frames of the recorded stacks of operators, or -1."""
        columns = self.host.work.trace.columns
        if "call_stack" not in columns:
            return np.full(len(operator), -1, np.int64)
        stack = np.maximum(columns["call_stack"][operator], -1)
        distinct, index = np.unique(stack, return_inverse=True)
        return np.array([self.of_stack(number) for number in distinct.tolist()], np.int64)[index]

    def of_stack(self, stack: int) -> int:
        """Return the frame of a recorded stack, the user's lines of it; their innermost line comes first in it."""
        if stack not in self.stacks:
            lines = [line for line in self.texts.strings[stack].split(";")[::-1] if self.places.line_of_text(line)]
            frame = np.array([-1])
            for line in lines:
                frame = self.forest.grow(frame, np.array([self.texts.number(line)]))
            self.stacks[stack] = int(frame[0])
        return self.stacks[stack]


def flames(
    host: Host, places: Places, texts: Texts, readings: Sequence[Reading], *, whole: bool = False
) -> list[Flame]:
    """Return the flame graphs that a trace can give, small frames included if whole; by line needs recorded stacks."""
    wanted = {step.name for reading in readings for step in reading.timeline.steps}
    wanted |= {name for reading in readings for name in reading.dropped}
    marked = distinct(host.work.trace.columns["name"][host.work.trace.rows(Category.ANNOTATION)]).tolist()
    steps = frozenset(number for number in marked if texts.strings[number] in wanted)
    found: list[Flame | None] = []
    for by in ("module", "line"):
        if by == "line" and not has_lines(host):
            continue
        on_device = Gardener(host, places, texts, by, steps)
        device_time(on_device, readings)
        found.append(on_device.forest.flame(on_device.by, "device", whole_forest=whole))
        on_host = Gardener(host, places, texts, on_device.by, steps)
        host_time(on_host, readings)
        found.append(on_host.forest.flame(on_host.by, "host", whole_forest=whole))
    return [flame for flame in found if flame is not None]


def has_lines(host: Host) -> bool:
    """Tell whether any line of Python was recorded."""
    columns = host.work.trace.columns
    stacks = "call_stack" in columns and bool((columns["call_stack"] >= 0).any())
    return stacks or bool((host.categories == Category.PYTHON).any())


def device_time(garden: Gardener, readings: Sequence[Reading]) -> None:
    """Add the time of the activities in the windows to where they were launched."""
    work = garden.host.work
    activities, calls, name = work.activities, work.calls, garden.name
    inside = np.concatenate([np.empty(0, np.int64), *(reading.inside for reading in readings)])
    lasted = activities.end[inside] - activities.start[inside]
    call = activities.call[inside]
    unknown = np.full(len(inside), -1, np.int64)
    frame = np.where(call < 0, garden.forest.grow(unknown, unknown + 1 + garden.texts.number(NO_LAUNCH)), unknown)
    thread = np.where(call >= 0, calls.thread[call], -1) if len(calls.row) else unknown
    for index in distinct(thread[call >= 0]).tolist():
        some = np.flatnonzero((call >= 0) & (thread == index))
        moment = calls.start[call[some]]
        operator = garden.places.innermost("operators", index, moment)
        outer = outermost(garden.places, index, operator)
        place = garden.place(index, moment, operator)
        place = garden.forest.grow(place, names_of(name, outer))
        frame[some] = garden.forest.grow(place, np.where(operator != outer, names_of(name, operator), -1))
    garden.forest.add(garden.forest.grow(frame, activities.name[inside].astype(np.int64)), lasted)


def host_time(garden: Gardener, readings: Sequence[Reading]) -> None:
    """Add the own time of what host threads did to where they did it, within the host's window."""
    host = garden.host
    columns = host.work.trace.columns
    windows = {reading.timeline.process: reading.host for reading in readings}
    for thread, entry in enumerate(host.work.trace.threads):
        if entry.process not in windows:
            continue
        low, high = windows[entry.process]
        above = garden.rows_of(thread)
        rows = np.concatenate([above, host.of_thread(thread, Category.OPERATOR, Category.RUNTIME)])
        rows = rows[(columns["start"][rows] < high) & (columns["end"][rows] > low)]
        if not len(rows):
            continue
        nest = Nest(np.maximum(columns["start"][rows], low), np.minimum(columns["end"][rows], high))
        row = rows[nest.order].astype(np.int64)
        own = nest.end - nest.start
        inner = np.flatnonzero(nest.parent >= 0)
        np.subtract.at(own, nest.parent[inner], (nest.end - nest.start)[inner])
        ground = np.full(len(row), -1, np.int64)
        root = garden.forest.grow(ground[:1], np.array([garden.texts.number(thread_name(host, thread))]))
        ground[:] = root
        bare = np.flatnonzero((nest.parent < 0) & (columns["category"][row] == Category.OPERATOR))
        if garden.by == "line" and len(bare):  # traces up to 2022 have stacks as texts of operators
            stacked = garden.of_stacks(row[bare])
            ground[bare] = np.where(stacked >= 0, stacked, root)
        garden.forest.add(garden.forest.plant(nest, columns["name"][row].astype(np.int64), ground), np.maximum(own, 0))


def outermost(places: Places, thread: int, operator: Ints) -> Ints:
    """Return the row of the outermost operator around each operator row of a thread; -1 stays -1."""
    rows, nest = places.operators(thread)
    if not len(rows):
        return operator
    root = np.arange(len(rows))
    for members in generations(nest):
        above = nest.parent[members]
        root[members] = np.where(above >= 0, root[above], members)
    ordered = rows[nest.order].astype(np.int64)
    by_row = np.argsort(ordered)
    place = by_row[np.minimum(np.searchsorted(ordered[by_row], operator), len(rows) - 1)]
    return np.where(operator >= 0, ordered[root[place]], -1)


def names_of(name: NDArray[np.int32], rows: Ints) -> Ints:
    """Return the name of each row, -1 for none."""
    return np.where(rows >= 0, np.maximum(name[rows], -1), -1).astype(np.int64)
