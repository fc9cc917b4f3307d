"""Runs a graph: the times of all its nodes, and the steps that follow from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from perfkit.model.program import NO_STEP
from perfkit.simulate.engine import ALWAYS, NO_EDGE, Incoming
from perfkit.simulate.orders import Launches, reorder, wait_anew
from perfkit.simulate.schedule import Schedule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.model.program import StepTimes
    from perfkit.simulate.engine import Engine
    from perfkit.simulate.graph import Graph

    Ints = NDArray[np.int64]
    Numbers = NDArray[np.int32]

__all__ = ["Replayed", "Run", "edges_of_steps", "moved", "prepare", "replay"]


FAR: Final = 1 << 50
"""Beyond any trace, and what a float still counts in single nanoseconds."""
FEW_ORDERS, MANY_ORDERS, NODES = 5, 100, 2_000_000
"""How often the order of launches is put right, at most: a change of it seldom brings about many others. Orders times
nodes are no more, as long as there are a few."""


class Run(NamedTuple):
    """What a replay is run with; `prepare` makes copies that may be written to.

    ``lag``, ``table`` (to draw from, or -1) and ``source`` (a node) are of all edges, a kind of them where ``kinds``
    says; ``own`` (ns) is by node; ``away`` marks activities that are no longer in the order of their stream.
    """

    kinds: dict[str, slice]
    lag: Ints
    table: Numbers
    source: Numbers
    own: Ints
    away: NDArray[np.bool_]

    @property
    def lags(self) -> dict[str, Ints]:
        """The lags by kind, to be written to."""
        return {kind: self.lag[some] for kind, some in self.kinds.items()}

    @property
    def tables(self) -> dict[str, Numbers]:
        """The tables by kind, to be written to."""
        return {kind: self.table[some] for kind, some in self.kinds.items()}

    @property
    def sources(self) -> dict[str, Numbers]:
        """The sources by kind, to be written to."""
        return {kind: self.source[some] for kind, some in self.kinds.items()}


class Replayed(NamedTuple):
    """A replay.

    ``time`` is that of every node ``[nodes, lanes]``, and ``own`` how long its activity takes, ns; ``matched`` is how
    many events each change met.
    """

    time: Ints
    own: Ints
    matched: tuple[int, ...] = ()


def prepare(graph: Graph, assumed: int = 0) -> Run:
    """Return what a replay without a change is run with, under one of the assumptions of ``graph.lags``."""
    away = np.zeros(len(graph.program.activities.row), bool)
    lag, table, source = graph.lags[assumed].copy(), graph.tables.copy(), graph.source.copy()
    return Run(graph.kinds, lag, table, source, graph.own.copy(), away)


def replay(graph: Graph, engine: Engine, run: Run, lanes: int) -> Replayed:
    """Replay a graph in some lanes.

    Where threads come to launch in another order, that is the order of a stream that they share, and a call waits for
    what others have launched by then.
    """
    schedule = graph.schedule
    waits = np.where(run.sources["wait"] == graph.source[graph.kinds["wait"]], run.lags["wait"], NO_EDGE)
    orders = min(MANY_ORDERS, max(FEW_ORDERS, NODES // max(len(run.own), 1)))
    for _ in range(orders if len(graph.parts.shared) or len(graph.parts.crossing) else 0):
        time = compute(graph, engine, run, schedule, 1)[:, 0]
        order = Launches.of(graph, time - run.own)
        if not reorder(graph, run, order) | wait_anew(graph, run, order, waits):
            break
        schedule = Schedule.find(engine, graph.target, run.source, np.flatnonzero(run.lag != NO_EDGE), graph.seen)
    return Replayed(compute(graph, engine, run, schedule, lanes), run.own)


def compute(graph: Graph, engine: Engine, run: Run, schedule: Schedule, lanes: int) -> Ints:
    """Return the time of every node in each lane."""
    earliest = graph.earliest.copy()
    earliest[graph.target[run.lag != NO_EDGE]] = ALWAYS
    earliest[graph.anchored] = graph.earliest[graph.anchored]
    some = schedule.edges
    edges = Incoming(schedule.first, run.source[some], run.lag[some], run.table[some], graph.behind[some])
    return engine.replay(edges, schedule.order, earliest, run.own, graph.draws.values[:lanes])


def edges_of_steps(graph: Graph, steps: StepTimes, run: Replayed) -> Ints:
    """Return where the steps of a timeline begin and end in each lane of a replay, as `StepTimes.edges` says."""
    if steps.thread >= 0:
        host = graph.parts.host
        mine = host.steps[host.thread[host.steps] == steps.thread]
        return np.maximum.accumulate(run.time[mine])
    step = told(graph, steps, run)
    nodes, step = graph.activity_nodes(steps.activity[step != NO_STEP]), step[step != NO_STEP]
    order = np.argsort(step, kind="stable")
    found, first = np.unique(step[order], return_index=True)
    last = np.full((len(steps.edges), run.time.shape[1]), np.iinfo(np.int64).min)
    last[found + 1] = np.maximum.reduceat(run.time[nodes[order]], first)
    if len(step) and step.min() >= 0:
        begin = nodes[step == step.min()]
        last[0] = (run.time[begin] - run.own[begin][:, None]).min(axis=0)
    return np.maximum.accumulate(last)


def told(graph: Graph, steps: StepTimes, run: Replayed) -> Ints:
    """Return the step of each activity: threads other than that of the marks may come to launch in another one."""
    calls, host, marks = graph.program.calls, graph.parts.host, steps.marks
    call = graph.program.activities.call[steps.activity]
    if marks is None:
        return steps.step
    handed = np.append(graph.parts.handoffs.working_thread, marks.thread)  # these are in step with the marks
    others = np.flatnonzero((call >= 0) & ~np.isin(calls.thread[call], handed)) if len(calls.row) else call[:0]
    mine = host.thread == marks.thread
    if not len(others) or not mine.any():
        return steps.step
    call = call[others]
    waits = host.call_start[call] >= 0
    launched = run.time[np.where(waits, host.call_start[call], host.call_end[call]), 0]
    launched -= np.where(waits, 0, calls.end[call] - calls.start[call])
    times = moved(marks.time, host.time[mine], np.maximum.accumulate(run.time[mine.nonzero()[0], 0]))
    step = steps.step.copy()
    step[others] = marks.step[np.searchsorted(times, launched, "right")]
    return step


def moved(times: Ints, before: Ints, after: Ints) -> Ints:
    """Return where times go if some moments (ascending) go from ``before`` to ``after``."""
    known = np.concatenate((before[:1] - FAR, before, before[-1:] + FAR))
    there = np.concatenate((after[:1] - FAR, after, after[-1:] + FAR))
    return np.rint(np.interp(times, known, there)).astype(np.int64)
