"""What a host thread was doing at each moment: layers of intervals, the first layer that covers a moment owns it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from perfkit.attribute.intervals import Union, spread
from perfkit.model.arrays import distinct
from perfkit.model.attribution import BUSY_CLASSES, IDLE_CAUSES
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from perfkit.attribute.work import Work

    Ints = NDArray[np.int64]

__all__ = ["CODE", "Host", "Layer", "Pieces", "paint"]

LONG_NS: Final = 1_000_000
"""Above this an operator that launches nothing is host compute, and a kernel's first launch is initialization."""

HOST_CATEGORIES: Final = (
    Category.OPERATOR,
    Category.ANNOTATION,
    Category.RUNTIME,
    Category.PYTHON,
    Category.OVERHEAD,
    Category.OS_CALL,
    Category.SAMPLE,
)
"""What happens on host threads. Records of synchronizations are none of it: the calls that waited are there, too."""

CODE: Final = {name: code for code, name in enumerate((*IDLE_CAUSES, *BUSY_CLASSES))}
"""Idle cause or busy class to the small integer that stands for it in arrays."""


class Layer(NamedTuple):
    """Disjoint intervals with one cause; ``row`` is the trace row to blame for each."""

    cause: str
    start: Ints
    end: Ints
    row: Ints

    @classmethod
    def of(cls, cause: str, rows: Ints, start: Ints, end: Ints) -> Layer:
        """Merge the intervals of rows given in order of start; the outermost row is the one to blame."""
        union = Union.of(start, end)
        return cls(cause, union.start, union.end, rows[union.first])

    @classmethod
    def outside(cls, cause: str, start: Ints, end: Ints) -> Layer:
        """Return all time outside of intervals given in order of start, with nothing to blame; none for none."""
        union = Union.of(start, end)
        far = np.full(min(1, len(start)), np.iinfo(np.int64).max // 2)
        begin, finish = np.concatenate((-far, union.end)), np.concatenate((union.start, far))
        return cls(cause, begin, finish, np.full(len(begin), -1, np.int64))

    def holding(self, times: Ints) -> Ints:
        """Return the position of the interval that holds each time, or -1."""
        index = np.searchsorted(self.start, times, "right") - 1
        if not len(self.start):
            return index
        return np.where(times < self.end[index], index, -1)

    def between(self, low: int, high: int) -> Layer:
        """Return the intervals that reach into ``[low, high)``."""
        some = slice(np.searchsorted(self.end, low, "right"), np.searchsorted(self.start, high))
        return Layer(self.cause, self.start[some], self.end[some], self.row[some])


class Pieces(NamedTuple):
    """Stretches of idle time with one cause each.

    ``cause`` is a CODE, ``row`` the host event to blame or -1, ``gap`` the position of the gap it is in.
    """

    start: Ints
    end: Ints
    cause: NDArray[np.int8]
    row: Ints
    gap: Ints


class Host:
    """The host threads of a trace; the layers of a thread are made when first asked for."""

    def __init__(self, work: Work) -> None:
        """Sort the host events by thread once."""
        self.work = work
        columns = work.trace.columns
        rows = work.trace.rows(*HOST_CATEGORIES)
        order = np.lexsort((columns["start"][rows], columns["thread"][rows]))
        self.rows: NDArray[Any] = rows[order].astype(np.int32)
        self.categories = columns["category"][self.rows]
        self.bounds = np.searchsorted(columns["thread"][self.rows], np.arange(len(work.trace.threads) + 1))
        self.layers = functools.cache(self._layers)
        self.waits = functools.cache(self._waits)
        self.overhead = functools.cache(self._overhead)
        self.without_request = functools.cache(self._without_request)
        self.call_at = np.full(len(work.trace), -1, np.int32)
        self.call_at[work.calls.row] = np.arange(len(work.calls.row))

    def of_thread(self, thread: int, *categories: Category) -> Ints:
        """Return the rows of a thread of these categories, by start."""
        mine = slice(self.bounds[thread], self.bounds[thread + 1])
        wanted = np.zeros(256, bool)
        wanted[list(categories)] = True
        kept: Ints = self.rows[mine][wanted[self.categories[mine]]]
        return kept

    @functools.cached_property
    def first_launches(self) -> NDArray[np.bool_]:
        """Mark, among the calls, kernel launches over 1 ms that are the first of a kernel in their process."""
        work = self.work
        calls, activities = work.calls, work.activities
        answer = np.zeros(len(calls.row), bool)
        slow = (calls.end - calls.start > LONG_NS) & ~calls.is_copy
        kernels = np.flatnonzero((activities.category == Category.KERNEL) & (activities.call >= 0))
        if not len(kernels) or not slow.any():
            return answer
        call = activities.call[kernels]
        key = activities.owner[kernels].astype(np.int64) * len(work.trace.strings) + activities.name[kernels]
        some = np.isin(key, key[slow[call]])
        if not some.any():
            return answer
        call = call[some]
        _, kernel = np.unique(key[some], return_inverse=True)
        first = np.full(int(kernel.max()) + 1, np.iinfo(np.int64).max)
        np.minimum.at(first, kernel, calls.start[call])
        answer[call[first[kernel] == calls.start[call]]] = True
        return answer & slow

    @functools.cached_property
    def copies_to_host(self) -> NDArray[np.bool_]:
        """Mark, among the calls, those that copied to the host and returned no earlier than the copy's end."""
        work = self.work
        calls, activities = work.calls, work.activities
        answer = np.zeros(len(calls.row), bool)
        copies = np.flatnonzero((activities.category == Category.MEMCPY) & (activities.call >= 0))
        copies = copies[work.names.match("device", "copy_to_host", activities.row[copies])]
        call = activities.call[copies]
        answer[call[calls.end[call] >= activities.end[copies]]] = True
        return answer

    def synchronizations(self, thread: int) -> Ints:
        """Return the rows of the calls of a thread that wait for a device, by start."""
        rows = self.of_thread(thread, Category.RUNTIME)
        names = self.work.names
        waits = names.match("runtime", "synchronize", rows) | names.match("runtime", "blocking_copy", rows)
        return rows[waits | self.copies_to_host[self.call_at[rows]]]

    def loaders(self, thread: int) -> Ints:
        """Return the DataLoader rows of a thread, by start."""
        rows = self.of_thread(thread, Category.OPERATOR, Category.ANNOTATION)
        return rows[self.work.names.match("host", "loader", rows)]

    def compilations(self, thread: int) -> Ints:
        """Return the rows of a thread in which something was compiled or a module loaded, by start."""
        rows = self.of_thread(thread, Category.OPERATOR, Category.ANNOTATION, Category.RUNTIME, Category.PYTHON)
        category = self.work.trace.columns["category"][rows]
        found = np.zeros(len(rows), bool)
        for section, members in (
            ("runtime", category == Category.RUNTIME),
            ("python", category == Category.PYTHON),
            ("host", (category == Category.OPERATOR) | (category == Category.ANNOTATION)),
        ):
            found[members] = self.work.names.match(section, "compilation", rows[members])
        return rows[found]

    def initializations(self, thread: int) -> Ints:
        """Return the rows of a thread that set up a context or a kernel's first launch, by start."""
        rows = self.of_thread(thread, Category.RUNTIME)
        return rows[self.work.names.match("runtime", "context", rows) | self.first_launches[self.call_at[rows]]]

    def _overhead(self, process: int) -> Layer:
        """Return the profiler's own work that may have held up any thread of a process.

        That is what is on no thread of the program, but for the work on other processes of it.
        """
        work = self.work
        columns = work.trace.columns
        rows = trace_rows(work, Category.OVERHEAD)
        program = np.zeros(len(work.trace.threads), bool)
        program[columns["thread"][self.rows[self.categories != Category.OVERHEAD]]] = True
        other = np.zeros(len(work.processes), bool)
        other[work.process_of_thread[program]] = True
        other[process] = False
        thread = columns["thread"][rows]
        rows = rows[~program[thread] & ~other[work.process_of_thread[thread]]] if len(rows) else rows
        return Layer.of("profiler_overhead", rows, columns["start"][rows], columns["end"][rows])

    def allocations(self, thread: int) -> Ints:
        """Return the rows of a thread that allocate or free memory by a runtime call, by start."""
        rows = self.of_thread(thread, Category.RUNTIME)
        return rows[self.work.names.match("runtime", "allocation", rows)]

    def _waits(self, thread: int) -> Layer:
        rows = self.synchronizations(thread)
        columns = self.work.trace.columns
        return Layer.of("synchronization", rows, columns["start"][rows], columns["end"][rows])

    def _layers(self, thread: int) -> list[Layer]:
        calls = self.work.calls
        columns = self.work.trace.columns
        runtime = self.of_thread(thread, Category.RUNTIME)
        call = self.call_at[runtime]
        operators = self.of_thread(thread, Category.OPERATOR)
        start, end = columns["start"][operators], columns["end"][operators]
        launch = np.sort(calls.start[call[calls.launches[call]]])
        launching = np.searchsorted(launch, start) < np.searchsorted(launch, end)
        quiet = operators[~launching]
        computing = Layer.of("host_compute", quiet, start[~launching], end[~launching])
        long = computing.end - computing.start > LONG_NS
        rows = {
            "data_loading": self.loaders(thread),
            "allocation": self.allocations(thread),
            "compilation": self.compilations(thread),
            "initialization": self.initializations(thread),
            "launch_overhead": runtime[calls.launches[call] & ~calls.is_copy[call]],
            "copy_submission": runtime[calls.is_copy[call]],
            "operator_dispatch": operators[launching],
        }
        below = {
            "os_wait": self.of_thread(thread, Category.OS_CALL),
            "python": self.of_thread(thread, Category.PYTHON, Category.ANNOTATION),
            "profiler_overhead": self.of_thread(thread, Category.OVERHEAD),
        }
        layers = [Layer.of(cause, some, columns["start"][some], columns["end"][some]) for cause, some in rows.items()]
        layers.append(Layer("host_compute", computing.start[long], computing.end[long], computing.row[long]))
        layers.append(Layer("operator_dispatch", computing.start[~long], computing.end[~long], computing.row[~long]))
        process = int(self.work.process_of_thread[thread])
        layers.append(self.without_request(process))
        layers += [Layer.of(cause, some, columns["start"][some], columns["end"][some]) for cause, some in below.items()]
        samples = self.of_thread(thread, Category.SAMPLE)
        sampled = Layer.of("host_code", samples, columns["start"][samples], columns["end"][samples])
        return [*layers, self.overhead(process), sampled]

    def _without_request(self, process: int) -> Layer:
        """Return the time in which no marked request was open in a process; nothing where requests are not marked."""
        rows, columns = self.requests(process), self.work.trace.columns
        return Layer.outside("no_request", columns["start"][rows], columns["end"][rows])

    def requests(self, process: int) -> Ints:
        """Return the marks of requests in a process, and of work for them, by start."""
        rows = trace_rows(self.work, Category.ANNOTATION)
        rows = rows[self.work.names.match("host", "request", rows)]
        mine: Ints = rows[self.work.process_of_thread[self.work.trace.columns["thread"][rows]] == process]
        return mine


def trace_rows(work: Work, category: Category) -> Ints:
    """Return the rows of a category by start."""
    rows = work.trace.rows(category)
    return rows[np.argsort(work.trace.columns["start"][rows], kind="stable")]


def paint(start: Ints, end: Ints, layers: Sequence[Layer], cuts: Ints, otherwise: str) -> Pieces:
    """Cut disjoint ascending parts into pieces owned by the first layer that covers them, or by ``otherwise``.

    ``gap`` of a piece is the index of its part. Pieces are also cut at ``cuts``. The pieces of a part tile it exactly.
    """
    layers = [layer.between(start[0], end[-1]) for layer in layers]
    edges = [start, end]
    for times in (cuts, *(times for layer in layers for times in (layer.start, layer.end))):
        part = np.searchsorted(start, times, "right") - 1
        edges.append(times[(part >= 0) & (times < end[part])])
    points = distinct(np.concatenate(edges))
    low, high = points[:-1], points[1:]
    part = np.searchsorted(start, low, "right") - 1
    cause = np.full(len(low), CODE[otherwise], np.int8)
    row = np.full(len(low), -1, np.int64)
    for layer in reversed(layers):
        first, last = np.searchsorted(low, layer.start), np.searchsorted(low, layer.end)
        covered = spread(first, last)
        cause[covered] = CODE[layer.cause]
        row[covered] = np.repeat(layer.row, last - first)
    inside = low < end[part]
    return Pieces(low[inside], high[inside], cause[inside], row[inside], part[inside])
