"""Threads that work for one another: one falls silent, another one works, then the first goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from perfkit.model.arrays import distinct

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.model.program import Program, Spans

    Ints = NDArray[np.int64]

__all__ = ["Handoffs", "find_handoffs"]

LEAST_NS: Final = 10_000
"""Shorter silence is not waited out."""
MOST_OF_IT: Final = 0.5
"""The other thread works for at least so much of the silence;"""
SOON_NS: Final = 25_000
"""or it begins so soon after it is asked, or the first goes on so soon after it is done."""
NEARLY_ALWAYS: Final = 0.8
"""At least so much of what a thread does, it does while the one it works for is silent."""
MANY: Final = 16
"""So many events of one thread are not missed by as many of another by chance."""
MOST_THREADS: Final = 12
"""Of more threads in a process, those with most events are looked at."""


class Handoffs(NamedTuple):
    """Work handed from one thread to another: from ``asked`` on the first wait ``begun`` to ``done`` on the second."""

    waiting_thread: Ints
    working_thread: Ints
    asked: Ints
    begun: Ints
    done: Ints
    resumed: Ints


class Moments(NamedTuple):
    """When something begins or ends on one thread, ascending, and how many spans are open after each."""

    time: Ints
    open: Ints

    @classmethod
    def of(cls, start: Ints, end: Ints) -> Moments:
        """Sort the starts and ends of a thread's spans; at one time, ends come first."""
        time = np.concatenate((end, start))
        change = np.repeat(np.array([-1, 1]), len(start))
        order = np.argsort(time, kind="stable")
        return cls(time[order], np.cumsum(change[order]))


def find_handoffs(program: Program) -> Handoffs:
    """Find where a thread waits for another one, as a training loop does for autograd's."""
    host = program.host
    bounds = np.searchsorted(host.thread, np.arange(len(program.process_of_thread) + 1))
    size = np.diff(bounds)
    rows = []
    for process in distinct(program.process_of_thread).tolist():
        threads = np.flatnonzero((program.process_of_thread == process) & (size > 0))
        threads = threads[np.argsort(-size[threads], kind="stable")[:MOST_THREADS]].tolist()
        if len(threads) > 1:
            moments = {one: Moments.of(*of_thread(host, bounds, one)) for one in threads}
            rows += between(program, threads, moments)
    return Handoffs(*np.concatenate([np.empty((6, 0), np.int64), *rows], axis=1))


def of_thread(host: Spans, bounds: Ints, thread: int) -> tuple[Ints, Ints]:
    """Return the starts and ends of a thread's spans that have a length."""
    mine = slice(bounds[thread], bounds[thread + 1])
    start, end = host.start[mine], host.end[mine]
    return start[end > start], end[end > start]


def between(program: Program, threads: list[int], moments: dict[int, Moments]) -> list[Ints]:
    """Return the handoffs to each thread that works for another one, as six rows."""
    found = []
    silences = {one: silence(program, one, moments[one].time) for one in threads}
    for working in threads:
        best = np.empty((6, 0), np.int64)
        for waiting in threads:
            if waiting != working and len(silences[waiting][0]):
                rows, part = while_silent(moments[working], moments[waiting].time, *silences[waiting])
                if part >= NEARLY_ALWAYS and rows.shape[1] > best.shape[1]:
                    ends = np.full((2, rows.shape[1]), [[waiting], [working]])
                    best = np.concatenate((ends, rows))
        found.append(best)
    return found


def silence(program: Program, thread: int, times: Ints) -> tuple[Ints, Ints]:
    """Return when a thread did nothing that was recorded: neither in a call nor loading data, whose waits are known."""
    start, end = times[:-1], times[1:]
    long = end - start > LEAST_NS
    start, end = start[long], end[long]
    calls, loading = program.calls, program.loading
    for whose, begin, until in (
        (calls.thread, calls.start, calls.end),
        (loading.thread, loading.start, loading.end),
    ):
        mine = np.flatnonzero(whose == thread)
        mine = mine[np.argsort(begin[mine], kind="stable")]
        if len(mine):
            reach = np.maximum.accumulate(until[mine])
            place = np.searchsorted(begin[mine], start, "right") - 1
            inside = (place >= 0) & (reach[place] > start)
            start, end = start[~inside], end[~inside]
    return start, end


def while_silent(working: Moments, waiting: Ints, start: Ints, end: Ints) -> tuple[Ints, float]:
    """Return what a thread did within the silences of another: asked, begun, done and resumed, and how much of all.

    Nothing, where it may be there by chance: most of it neither fills a silence nor begins or ends as one does, and
    it is little, or the other thread, the rest of the time, does not do much in as long.
    """
    first, after = np.searchsorted(working.time, start), np.searchsorted(working.time, end, "right")
    open_before = np.append(0, working.open)
    some = (after - first > 1) & (open_before[first] == 0) & (open_before[after] == 0)
    start, end, first, after = start[some], end[some], first[some], after[some]
    begun, done = working.time[first], working.time[after - 1]
    fits = (begun - start <= SOON_NS) | (end - done <= SOON_NS) | (done - begun >= MOST_OF_IT * (end - start))
    events = after - first
    part = float(events.sum()) / max(len(working.time), 1)
    others = int(waiting[-1] - waiting[0]) - int((end - start).sum())
    missed = len(waiting) * float((done - begun).sum()) / max(others, 1)
    if events[fits].sum() < MOST_OF_IT * events.sum() and min(missed, events.sum()) < MANY:
        return np.empty((4, 0), np.int64), 0.0
    return np.stack((start, begun, done, end)), part
