"""What a change is made to: the graph of a program, the steps of one of its timelines, and how to find events in it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.model.arrays import distinct
from perfkit.simulate.waits import wait_times

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from perfkit.model.program import Selection, Spans, StepTimes
    from perfkit.simulate.graph import Graph
    from perfkit.simulate.replay import Run

    Ints = NDArray[np.int64]
    Mask = NDArray[np.bool_]

__all__ = ["QUANTILE", "SLOW", "SWIFT", "USUAL", "Subject"]

USUAL, SWIFT, SLOW = range(3)
"""What is assumed of all that a trace does not show: places in `Graph.lags`."""
QUANTILE: Final = (0.5, 0.1, 0.9)


@dataclass(frozen=True)
class Subject:
    """A program as changes see it."""

    graph: Graph
    selection: Selection
    steps: StepTimes

    @functools.cached_property
    def step_of(self) -> Ints:
        """The step of each activity on this timeline, -1 for those before the first and of other timelines."""
        found = np.full(len(self.graph.program.activities.row), -1, np.int64)
        found[self.steps.activity] = self.steps.step
        return found

    @functools.cached_property
    def last_of_earlier_step(self) -> Ints:
        """For each activity the last one on its stream that was launched in an earlier step, or -1."""
        streams = self.graph.parts.streams
        found = np.full(len(streams.of), -1, np.int64)
        for low, high in zip(streams.bounds[:-1].tolist(), streams.bounds[1:].tolist(), strict=True):
            mine = streams.order[low:high]
            step = np.maximum.accumulate(self.step_of[mine])
            begins = np.searchsorted(step, step)
            found[mine] = np.where(begins > 0, mine[begins - 1], -1)
        return found

    @functools.cached_property
    def chain_of(self) -> Ints:
        """The edge of kind ``chain`` that leads to each moment of the host, or -1."""
        edges = self.graph.edges["chain"]
        found = np.full(self.graph.parts.host.nodes, -1, np.int64)
        found[edges.target] = np.arange(len(edges))
        return found

    def call_alone(self, assumed: int) -> Ints:
        """Return how long each call that waits takes if there is nothing to wait for, ns."""
        parts = self.graph.parts
        return wait_times(self.graph.program, parts.waits, parts.waiting, QUANTILE[assumed]).own

    def launched_inside(self, spans: Spans) -> Mask:
        """Mark the activities that were launched within spans of the launching thread."""
        activities, calls = self.graph.program.activities, self.graph.program.calls
        found = np.zeros(len(activities.row), bool)
        linked = np.flatnonzero(activities.call >= 0)
        call = activities.call[linked]
        found[linked] = inside(spans, calls.thread[call], calls.start[call])
        return found

    def scale_host(self, run: Run, spans: Spans, factor: float, assumed: int = USUAL) -> None:
        """Make the time of host threads within spans, disjoint on each thread, ``factor`` times as long.

        What a thread does before it hands something over and after it has it back does not show apart from what the
        other one does then: usually the first is its own, and the second the other's.
        """
        host, edges = self.graph.parts.host, self.graph.edges["chain"]
        time, lag = host.time, run.lags["chain"]
        part = covered(spans, host.thread[edges.target], time[edges.source], time[edges.target])
        some = part > 0
        lag[some] = np.rint(lag[some] * (1 - part[some] * (1 - factor))).astype(np.int64)
        handoffs = self.graph.parts.handoffs
        count = len(handoffs.asked)
        if not count or assumed == SLOW:
            return
        begin, until = (
            (handoffs.asked, handoffs.begun)
            if assumed == USUAL
            else (
                np.concatenate((handoffs.asked, handoffs.done)),
                np.concatenate((handoffs.begun, handoffs.resumed)),
            )
        )
        part = covered(spans, np.resize(handoffs.waiting_thread, len(begin)), begin, until)
        least = min((handoffs.begun - handoffs.asked).min(), (handoffs.resumed - handoffs.done).min())
        lag = run.lags["handoff"][: len(begin)]
        lag -= np.rint(np.maximum(lag - least, 0) * part * (1 - factor)).astype(np.int64)


def covered(spans: Spans, thread: Ints, begin: Ints, until: Ints) -> NDArray[np.float64]:
    """Return how much of stretches of threads spans cover, 0 to 1."""
    found = np.zeros(len(begin))
    bounds = np.searchsorted(spans.thread, np.arange(int(spans.thread.max(initial=-1)) + 2))
    for index in distinct(spans.thread).tolist():
        some = np.flatnonzero(thread == index)
        mine = slice(bounds[index], bounds[index + 1])
        before = covered_before(spans.start[mine], spans.end[mine])
        low, high = begin[some], until[some]
        found[some] = (before(high) - before(low)) / np.maximum(high - low, 1)
    return found


def covered_before(start: Ints, end: Ints) -> Callable[[Ints], Ints]:
    """Return a function that gives the length of disjoint ascending spans before each time."""
    total = np.concatenate((np.zeros(1, np.int64), np.cumsum(end - start)))

    def before(times: Ints) -> Ints:
        place = np.searchsorted(start, times, "right")
        over = np.where(place > 0, end[place - 1] - times, 0) if len(start) else np.zeros_like(times)
        found: Ints = total[place] - np.maximum(over, 0)
        return found

    return before


def inside(spans: Spans, thread: NDArray[np.int32], time: Ints) -> Mask:
    """Mark the moments of threads that lie within spans, disjoint on each thread."""
    found = np.zeros(len(time), bool)
    bounds = np.searchsorted(spans.thread, np.arange(int(spans.thread.max(initial=-1)) + 2))
    for index in distinct(spans.thread).tolist():
        some = np.flatnonzero(thread == index)
        start, end = (values[bounds[index] : bounds[index + 1]] for values in (spans.start, spans.end))
        place = np.searchsorted(start, time[some], "right") - 1
        found[some] = (place >= 0) & (time[some] < end[place])
    return found
