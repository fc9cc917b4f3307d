"""Marked requests: which work was done for each, and what it spent its time on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from perfkit.attribute.host import Host
from perfkit.attribute.intervals import EMPTY, Union
from perfkit.attribute.names import pattern
from perfkit.attribute.work import collect
from perfkit.model.requests import RequestTime, RequestTimes, Work
from perfkit.model.table import Table
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from perfkit.model.trace import Trace

    Ints = NDArray[np.int64]

__all__ = ["read_requests"]


class Mark(NamedTuple):
    """A request as it is marked: when it was open, and what it is called."""

    start: int
    end: int
    id: str


class Unit(NamedTuple):
    """Work done at once on one thread, for some marks (by position); it ends when the host is done with it."""

    thread: int
    start: int
    end: int
    marks: tuple[int, ...]


class Spans(NamedTuple):
    """Intervals sorted by start."""

    start: Ints
    end: Ints

    @classmethod
    def of(cls, start: Ints, end: Ints) -> Spans:
        """Sort intervals."""
        order = np.argsort(start, kind="stable")
        return cls(start[order], end[order])

    @classmethod
    def joined(cls, parts: Sequence[Spans]) -> Spans:
        """Put intervals together."""
        return cls.of(
            np.concatenate([EMPTY, *(part.start for part in parts)]),
            np.concatenate([EMPTY, *(part.end for part in parts)]),
        )

    def total(self, low: int, high: int) -> int:
        """Return the length that they cover within ``[low, high)``."""
        start, end = np.clip(self.start, low, high), np.clip(self.end, low, high)
        return Union.of(start, end).total


def read_requests(trace: Trace) -> RequestTimes:
    """Read the marked requests of a trace.

    Work belongs to a request if a mark says so. Where none does, operators are work: of a program in which all run on
    one thread, each is for the request that is answered next; of any other, those are known that ran while only one
    request was open.
    """
    host = Host(collect(trace))
    marks, units = read_marks(host)
    linked = "marks"
    if not units and marks:
        units, linked = infer(host, marks)
    mine: list[list[Unit]] = [[] for _ in marks]
    for unit in units:
        for mark in unit.marks:
            mine[mark].append(unit)
    device = Device(host)
    times = Table(measure(mark, some, device, marks) for mark, some in zip(marks, mine, strict=True))
    happened = np.setdiff1d(np.arange(len(trace)), trace.rows(Category.SPAN))
    start, end = trace.columns["start"][happened], trace.columns["end"][happened]
    bounds = (int(start.min()), int(end.max())) if len(happened) else (0, 0)
    return RequestTimes(times, linked if units else "none", *bounds)


def read_marks(host: Host) -> tuple[list[Mark], list[Unit]]:
    """Return the marks of requests by start, and the marks of work, with the requests that they name."""
    trace = host.work.trace
    columns, names = trace.columns, host.work.names
    rows = trace.rows(Category.ANNOTATION)
    rows = rows[names.match("host", "request", rows)]
    rows = rows[np.argsort(columns["start"][rows], kind="stable")]
    is_work = names.match("host", "request_work", rows)
    ids = [pattern("host", "request_id").findall(trace.strings[name]) for name in columns["name"][rows].tolist()]
    start, end = columns["start"][rows].tolist(), columns["end"][rows].tolist()
    whole = np.flatnonzero(~is_work).tolist()
    marks = [Mark(start[i], end[i], ids[i][0] if ids[i] else "") for i in whole]
    place = {mark.id: index for index, mark in enumerate(marks) if mark.id}
    thread = columns["thread"][rows].tolist()
    units = [
        Unit(thread[i], start[i], end[i], tuple(place[name] for name in ids[i] if name in place))
        for i in np.flatnonzero(is_work).tolist()
    ]
    return marks, closest([unit for unit in units if unit.marks])


def closest(units: Sequence[Unit]) -> list[Unit]:
    """Leave out work that is marked again within itself: the program marks more closely than what gave it a thread."""
    later: dict[int, Unit] = {}
    kept = []
    for unit in reversed(units):
        within = later.get(unit.thread)
        later[unit.thread] = unit
        if within is None or within.marks != unit.marks or within.end > unit.end:
            kept.append(unit)
    return kept[::-1]


def infer(host: Host, marks: Sequence[Mark]) -> tuple[list[Unit], str]:
    """Find the work on requests where it is not marked."""
    spans = {thread: operators(host, thread) for thread in range(len(host.bounds) - 1)}
    busy = {thread: some for thread, some in spans.items() if len(some.start)}
    start, end = (np.array([getattr(mark, name) for mark in marks]) for name in ("start", "end"))
    units: list[Unit] = []
    for thread, some in busy.items():
        for low, high in zip(some.start.tolist(), some.end.tolist(), strict=True):
            open_ones = np.flatnonzero((start <= low) & (end >= high))
            if not len(open_ones) or (len(busy) > 1 and len(open_ones) > 1):
                continue
            mark = int(open_ones[np.argmin(end[open_ones])])
            last = units[-1] if units else None
            if last is not None and last.thread == thread and last.marks == (mark,):
                units[-1] = last._replace(end=high)
            else:
                units.append(Unit(thread, low, high, (mark,)))
    return units, "order" if len(busy) == 1 else "alone"


def operators(host: Host, thread: int) -> Spans:
    """Return when a thread was in any operator."""
    columns = host.work.trace.columns
    rows = host.of_thread(thread, Category.OPERATOR)
    union = Union.of(columns["start"][rows], columns["end"][rows])
    return Spans(union.start, union.end)


class Device:
    """What was launched, waited for and computed by each thread; without devices, its operators are what computes."""

    def __init__(self, host: Host) -> None:
        """Sort the activities by the thread that launched them once."""
        self.host = host
        activities, calls = host.work.activities, host.work.calls
        known = np.flatnonzero(activities.call >= 0)
        call = activities.call[known]
        order = np.lexsort((calls.start[call], calls.thread[call]))
        self.activity, self.call = known[order], call[order]
        threads = np.arange(len(host.work.trace.threads) + 1)
        self.bounds = np.searchsorted(calls.thread[self.call], threads)

    def of(self, unit: Unit) -> tuple[Spans, Spans]:
        """Return what a unit of work computed, and what it waited for: from its launch to its end, and in calls."""
        if not len(self.host.work.activities.row):
            done = operators(self.host, unit.thread)
            low, high = np.searchsorted(done.end, unit.start, "right"), np.searchsorted(done.start, unit.end)
            return Spans(done.start[low:high], done.end[low:high]), Spans(EMPTY, EMPTY)
        activities, calls = self.host.work.activities, self.host.work.calls
        mine = slice(self.bounds[unit.thread], self.bounds[unit.thread + 1])
        launched = calls.start[self.call[mine]]
        some = slice(*(mine.start + np.searchsorted(launched, [unit.start, unit.end])))
        activity, call = self.activity[some], self.call[some]
        pending = Spans.of(np.minimum(calls.end[call], activities.start[activity]), activities.end[activity])
        waits = self.host.waits(unit.thread).between(unit.start, unit.end)
        called = Spans(np.maximum(waits.start, unit.start), np.minimum(waits.end, unit.end))
        return Spans.of(activities.start[activity], activities.end[activity]), Spans.joined([pending, called])


def measure(mark: Mark, units: Sequence[Unit], device: Device, marks: Sequence[Mark]) -> RequestTime:
    """Return what a request spent its time on: each part is what a wider set of intervals covers beyond the last."""
    if not units:
        return RequestTime(mark.id, mark.start, mark.end, {}, ())
    found = [device.of(unit) for unit in units]
    computed = Spans.joined([ran for ran, _ in found])
    waited = Spans.joined([computed, *(waits for _, waits in found)])
    worked = Spans.joined([waited, Spans(*(np.array(times) for times in hosts(units)))])
    begin = min(max(int(worked.start.min()), mark.start), mark.end)
    end = max(min(int(worked.end.max()), mark.end), begin)
    ran, waiting, working = (some.total(begin, end) for some in (computed, waited, worked))
    parts = {
        "queueing": begin - mark.start + (end - begin - working),
        "host_preparation": working - waiting,
        "device": ran,
        "device_wait": waiting - ran,
        "response": mark.end - end,
    }
    batches = tuple(batch(unit, ran, marks) for unit, (ran, _) in zip(units, found, strict=True))
    return RequestTime(mark.id, mark.start, mark.end, parts, batches)


def hosts(units: Iterable[Unit]) -> tuple[list[int], list[int]]:
    """Return when the host worked."""
    some = list(units)
    return [unit.start for unit in some], [unit.end for unit in some]


def batch(unit: Unit, ran: Spans, marks: Sequence[Mark]) -> Work:
    """Return a unit of work with the names of its requests; it lasts until the device is done, too."""
    end = max(unit.end, int(ran.end.max(initial=unit.end)))
    return Work(unit.start, end - unit.start, tuple(marks[mark].id for mark in unit.marks))
