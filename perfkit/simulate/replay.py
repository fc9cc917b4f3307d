"""Runs a graph: the times of all its nodes, and the steps that follow from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from perfkit.simulate.engine import ALWAYS, NO_EDGE
from perfkit.simulate.schedule import Schedule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.model.program import StepTimes
    from perfkit.simulate.engine import Engine
    from perfkit.simulate.graph import Graph

    Ints = NDArray[np.int64]

__all__ = ["Replayed", "Run", "edges_of_steps", "prepare", "replay"]


MOST_ORDERS: Final = 3
"""How often the order of launches is put right; one change of it seldom brings about another."""


class Run(NamedTuple):
    """What a replay is run with; `prepare` makes copies that may be written to.

    ``lags`` and ``sources`` (nodes) are by kind of edge, ``own`` (ns) by node; ``away`` marks activities that are no
    longer in the order of their stream.
    """

    lags: dict[str, Ints]
    sources: dict[str, Ints]
    own: Ints
    away: NDArray[np.bool_]


class Replayed(NamedTuple):
    """A replay: the time of every node and how long its activity takes, ns; and how many events each change met."""

    time: Ints
    own: Ints
    matched: tuple[int, ...] = ()


def prepare(graph: Graph, assumed: int = 0) -> Run:
    """Return what a replay without a change is run with, under one of the assumptions of ``graph.lags``."""
    return Run(
        lags={kind: lag.copy() for kind, lag in graph.lags[assumed].items()},
        sources={kind: some.source.copy() for kind, some in graph.edges.items()},
        own=graph.own.copy(),
        away=np.zeros(len(graph.program.activities.row), bool),
    )


def replay(graph: Graph, engine: Engine, run: Run) -> Replayed:
    """Replay a graph; where threads that share a stream come to launch in another order, that is the stream's."""
    time = compute(graph, engine, run, graph.schedule)
    for _ in range(MOST_ORDERS):
        if not reorder(graph, run, time):
            break
        kept = np.flatnonzero(np.concatenate(list(run.lags.values())) != NO_EDGE)
        source = np.concatenate(list(run.sources.values()))
        time = compute(graph, engine, run, Schedule.find(engine, graph.target, source, kept, graph.seen))
    return Replayed(time, run.own)


def compute(graph: Graph, engine: Engine, run: Run, schedule: Schedule) -> Ints:
    """Return the time of every node."""
    kept, order = schedule.kept, schedule.order
    lags = np.concatenate(list(run.lags.values()))
    lag, source = np.empty(len(kept), np.int64), np.empty(len(kept), np.int32)
    lag[schedule.position] = lags[kept]
    source[schedule.position] = schedule.place[np.concatenate(list(run.sources.values()))[kept]]
    earliest = graph.earliest.copy()
    earliest[graph.target[lags != NO_EDGE]] = ALWAYS
    found: Ints = engine.replay(schedule.first, source, lag, earliest[order], run.own[order])[schedule.place]
    return found


def reorder(graph: Graph, run: Run, time: Ints) -> bool:
    """Put the activities of streams that several threads use into the order of their launches; False if they are."""
    streams, offset = graph.parts.streams, graph.parts.host.nodes
    slot = np.full(len(streams.of), -1, np.int64)
    slot[graph.edges["queue"].target - offset] = np.arange(len(graph.edges["queue"]))
    launch = np.full(len(streams.of), -1, np.int64)
    launch[graph.edges["launch"].target - offset] = graph.edges["launch"].source
    changed = False
    for stream in graph.parts.shared.tolist():
        members = streams.order[streams.bounds[stream] : streams.bounds[stream + 1]]
        members = members[~run.away[members]]
        nodes = np.where(launch[members] >= 0, launch[members], members + offset)
        unknown = launch[members] < 0
        recorded = handed(graph.earliest[nodes], unknown)
        # Where launches are not recorded in the order of their stream, that is how far each is off.
        off = np.maximum.accumulate(recorded) - recorded
        members = members[np.argsort(handed(time[nodes] - run.own[nodes], unknown) + off, kind="stable")]
        before = np.append(-1, members[:-1])
        edge = slot[members]
        moved = (edge >= 0) & (run.sources["queue"][edge] != before + offset)
        edge, before, members = edge[moved], before[moved], members[moved]
        run.sources["queue"][edge] = np.maximum(before, 0) + offset
        run.lags["queue"][edge] = np.where(before >= 0, graph.parts.usual.queue[members], NO_EDGE)
        changed |= bool(moved.any())
    return changed


def handed(times: Ints, unknown: NDArray[np.bool_]) -> Ints:
    """Return when the activities of a stream were handed to it: no ``unknown`` one after any that came behind it."""
    found: Ints = np.where(unknown, np.minimum.accumulate(times[::-1])[::-1], times)
    return found


def edges_of_steps(graph: Graph, steps: StepTimes, run: Replayed) -> Ints:
    """Return where the steps of a timeline begin and end in a replay, as `StepTimes.edges` says."""
    if steps.thread >= 0:
        host = graph.parts.host
        mine = host.steps[host.thread[host.steps] == steps.thread]
        return np.maximum.accumulate(run.time[mine])
    nodes = graph.activity_nodes(steps.activity)
    last = np.full(len(steps.edges), np.iinfo(np.int64).min)
    np.maximum.at(last, steps.step + 1, run.time[nodes])
    if not (steps.step < 0).any():
        last[0] = (run.time - run.own)[nodes][steps.step == 0].min()
    return np.maximum.accumulate(last)
