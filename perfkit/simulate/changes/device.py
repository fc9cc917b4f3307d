"""Changes to what devices do: copies, kernels, collectives, and how they are launched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.model.prediction import Which
from perfkit.model.program import WAITS, Spans
from perfkit.model.trace import Category
from perfkit.simulate.changes.host import stop_waiting
from perfkit.simulate.engine import NO_EDGE
from perfkit.simulate.subject import SLOW, SWIFT, USUAL, inside

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.model.prediction import (
        CaptureGraph,
        FuseKernels,
        OverlapCollectives,
        OverlapCopies,
        ScaleBatch,
        SpeedUp,
    )
    from perfkit.model.program import Activities
    from perfkit.simulate.replay import Run
    from perfkit.simulate.subject import Subject

    Ints = NDArray[np.int64]
    Mask = NDArray[np.bool_]

__all__ = ["capture_graph", "fuse_kernels", "overlap_collectives", "overlap_copies", "scale_batch", "speed_up"]

GRAPH_LAUNCH_NS: Final = {SWIFT: 8_000, USUAL: 20_000, SLOW: 100_000}
"""To launch a graph, and to copy the inputs of a step into its place."""
SMALL_NS: Final = 10_000
"""A shorter kernel does not fill its device: a larger batch costs it nothing."""


def overlap_copies(subject: Subject, run: Run, change: OverlapCopies, assumed: int) -> int:
    """Have copies between host and device hold up neither the host nor their stream, a step ahead of their use."""
    program = subject.graph.program
    activities = program.activities
    copies = (activities.category == Category.MEMCPY) & ~activities.communicates
    copies &= subject.selection.activities(change.which) & (activities.call >= 0)
    waits = subject.graph.parts.waits
    # A synchronization of one stream that waits for such a copy is the copy's own.
    for_copies = np.zeros(len(program.calls.row), bool)
    for_copies[waits.call[copies[waits.activity]]] = True
    stop_waiting(subject, run, for_copies & (program.waits != WAITS.index("device")), assumed)
    run.lags["wait"][copies[waits.activity]] = NO_EDGE
    bypass(subject, run, copies)
    queue = subject.graph.edges["queue"].target - subject.graph.parts.host.nodes
    run.lags["queue"][copies[queue]] = NO_EDGE
    return int(copies.sum())


def bypass(subject: Subject, run: Run, away: Mask) -> None:
    """Have what is behind activities on their stream wait for what is before these instead."""
    graph = subject.graph
    run.away[:] |= away
    streams, edges = graph.parts.streams, graph.edges["queue"]
    order = streams.order
    stays = ~away[order]
    # For each place of the sorted streams the last one before it, on the same stream, that stays.
    last = np.maximum.accumulate(np.where(stays, np.arange(len(order)), -1))
    last = np.append(-1, last[:-1])[: len(order)]
    last = np.where(last >= streams.bounds[streams.of[order]], last, -1)
    before = np.full(len(order), -1, np.int64)
    before[order] = np.where(last >= 0, order[last], -1)
    target, source = edges.target - graph.parts.host.nodes, edges.source - graph.parts.host.nodes
    some = np.flatnonzero(away[source] & ~away[target])
    found = before[target[some]]
    run.lags["queue"][some[found < 0]] = NO_EDGE
    run.sources["queue"][some[found >= 0]] = subject.graph.activity_nodes(found[found >= 0])
    events = graph.edges["event"]
    loose = away[events.source - graph.parts.host.nodes] & ~away[events.target - graph.parts.host.nodes]
    run.lags["event"][loose] = NO_EDGE


def overlap_collectives(subject: Subject, run: Run, change: OverlapCollectives, _assumed: int) -> int:
    """Have computation wait for the collectives of the step before, not for its own."""
    graph = subject.graph
    activities, offset = graph.program.activities, graph.parts.host.nodes
    away = collectives(activities) & subject.selection.activities(change.which)
    bypass(subject, run, away)
    events = graph.edges["event"]
    source, target = events.source - offset, events.target - offset
    some = np.flatnonzero(away[source] & ~away[target])
    earlier = subject.last_of_earlier_step[source[some]]
    some, earlier = some[earlier >= 0], earlier[earlier >= 0]
    run.lags["event"][some] = 0
    run.sources["event"][some] = subject.graph.activity_nodes(earlier)
    return int(away.sum())


def collectives(activities: Activities) -> Mask:
    """Mark collectives: what communicates and is no copy between two devices."""
    found: Mask = activities.communicates & (activities.category != Category.MEMCPY)
    return found


def speed_up(subject: Subject, run: Run, change: SpeedUp, _assumed: int) -> int:
    """Make kernels, or operators and what they launch, take less time."""
    spans = subject.selection.operators(change.which)
    chosen = subject.launched_inside(spans) | subject.selection.activities(change.which)
    nodes = subject.graph.activity_nodes(np.flatnonzero(chosen))
    run.own[nodes] = np.rint(run.own[nodes] / change.factor).astype(np.int64)
    subject.scale_host(run, spans, 1 / change.factor)
    return int(chosen.sum()) or len(spans.row)


def fuse_kernels(subject: Subject, run: Run, change: FuseKernels, assumed: int) -> int:
    """Make one kernel of each set, launched where its first was."""
    sets, number = sets_of(subject, change)
    if not len(sets):
        return 0
    graph = subject.graph
    nodes = graph.activity_nodes(sets)
    first = np.flatnonzero(np.append(True, number[1:] != number[:-1]))
    longest, total = np.maximum.reduceat(run.own[nodes], first), np.add.reduceat(run.own[nodes], first)
    fused = total if assumed == SLOW else longest
    fused = np.minimum(np.full(len(first), change.fused_ns), total) if change.fused_ns else fused
    gone = np.ones(len(sets), bool)
    gone[first] = False
    run.own[nodes] = 0
    run.own[nodes[first]] = fused
    dropped = np.zeros(len(graph.program.activities.row), bool)
    dropped[sets[gone]] = True
    run.lags["launch"][dropped[graph.edges["launch"].target - graph.parts.host.nodes]] = NO_EDGE
    queue = graph.edges["queue"].target - graph.parts.host.nodes
    run.lags["queue"][dropped[queue]] = np.minimum(run.lags["queue"][dropped[queue]], 0)
    subject.scale_host(run, launching(subject, dropped, whole_operators=assumed != SLOW), 0)
    return len(first)


def sets_of(subject: Subject, change: FuseKernels) -> tuple[Ints, Ints]:
    """Return the activities of all sets to fuse, and the number of the set of each; sets of one are none."""
    program, streams = subject.graph.program, subject.graph.parts.streams
    if change.runs:
        at = {row: place for place, row in enumerate(program.activities.row.tolist())}
        known = [[at[row] for row in rows if row in at] for rows in change.runs]
        known = [rows for rows in known if len(rows) > 1]
        members = np.array([one for rows in known for one in rows], np.int64)
        return members, np.repeat(np.arange(len(known)), [len(rows) for rows in known])
    kernels = (program.activities.category == Category.KERNEL) & ~program.activities.communicates
    chosen = (kernels & subject.selection.activities(change.which))[streams.order]
    on = streams.of[streams.order]
    begins = chosen & ~(np.append(False, chosen[:-1]) & np.append(False, on[1:] == on[:-1]))[: len(chosen)]
    number = np.cumsum(begins)[chosen]
    members = streams.order[chosen]
    several = np.bincount(number)[number] > 1 if len(number) else np.empty(0, bool)
    return members[several], number[several]


def launching(subject: Subject, dropped: Mask, *, whole_operators: bool) -> Spans:
    """Return the host time of launching activities: that of their calls, or of operators that launch nothing else."""
    program = subject.graph.program
    activities, calls = program.activities, program.calls
    kept = np.unique(activities.call[~dropped & (activities.call >= 0)])
    gone = np.setdiff1d(activities.call[dropped & (activities.call >= 0)], kept)
    order = gone[np.lexsort((calls.start[gone], calls.thread[gone]))]
    alone = Spans(calls.thread[order], calls.start[order], calls.end[order], calls.row[order])
    if not whole_operators:
        return alone
    around = subject.selection.operators_around(gone)
    needed = np.zeros(len(around.row), bool)
    for thread in np.unique(around.thread).tolist():
        mine = np.flatnonzero(around.thread == thread)
        still = np.sort(calls.start[kept[calls.thread[kept] == thread]])
        needed[mine] = np.searchsorted(still, around.start[mine]) < np.searchsorted(still, around.end[mine])
    around = around.take(~needed)
    rest = ~inside(around, alone.thread, alone.start)
    alone = alone.take(rest)
    both = Spans(
        np.concatenate((around.thread, alone.thread)),
        np.concatenate((around.start, alone.start)),
        np.concatenate((around.end, alone.end)),
        np.concatenate((around.row, alone.row)),
    )
    return both.take(np.lexsort((both.start, both.thread)))


def capture_graph(subject: Subject, run: Run, change: CaptureGraph, assumed: int) -> int:
    """Launch a step's kernels at once: the host time of it goes, and no delay between them is longer than usual."""
    graph = subject.graph
    program, parts = graph.program, graph.parts
    everything = change.which == Which()
    chosen = (subject.step_of >= 0) & (program.activities.call >= 0)
    copies = program.activities.category == Category.MEMCPY
    if everything:
        chosen &= ~copies
        subject.scale_host(run, everything_but_waits(subject, chosen), 0)
    else:
        spans = subject.selection.operators(change.which)
        chosen &= subject.launched_inside(spans)
        subject.scale_host(run, spans, 0)
    for kind in ("launch", "queue", "event"):
        target = graph.edges[kind].target - parts.host.nodes
        swift = np.minimum(graph.lags[SWIFT][kind], run.lags[kind])
        run.lags[kind] = np.where(chosen[target] & (run.lags[kind] != NO_EDGE), swift, run.lags[kind])
    first = np.full(int(subject.step_of.max(initial=-1)) + 1, len(program.calls.row), np.int64)
    np.minimum.at(first, subject.step_of[chosen], program.activities.call[chosen])
    first = first[first < len(program.calls.row)]
    chain = subject.chain_of[parts.host.call_end[first]]
    run.lags["chain"][chain[chain >= 0]] += GRAPH_LAUNCH_NS[assumed]
    return int(chosen.sum())


def everything_but_waits(subject: Subject, chosen: Mask) -> Spans:
    """Return, for each thread that launches, the time from its first to its last launch without waits and loading."""
    program, parts = subject.graph.program, subject.graph.parts
    calls, loading = program.calls, program.loading
    call = np.unique(program.activities.call[chosen])
    found = [np.empty((3, 0), np.int64)]
    for thread in np.unique(calls.thread[call]).tolist():
        mine = call[calls.thread[call] == thread]
        waits = np.flatnonzero(parts.waiting & (calls.thread == thread))
        loads = np.flatnonzero(loading.thread == thread)
        start = np.concatenate((calls.start[waits], loading.start[loads]))
        end = np.concatenate((calls.end[waits], loading.end[loads]))
        order = np.argsort(start, kind="stable")
        low = np.concatenate((calls.start[mine[:1]], np.maximum.accumulate(end[order])))
        high = np.concatenate((start[order], [calls.end[mine].max()]))
        some = high > low
        found.append(np.stack((np.full(int(some.sum()), thread), low[some], high[some])))
    thread_of, start, end = np.concatenate(found, axis=1)
    return Spans(thread_of.astype(np.int32), start, end, np.full(len(start), -1))


def scale_batch(subject: Subject, run: Run, change: ScaleBatch, assumed: int) -> int:
    """Give loading, copies and the kernels that fill the device as much more to do."""
    graph = subject.graph
    program, parts = graph.program, graph.parts
    own = np.flatnonzero(~parts.batches.by_workers)
    subject.scale_host(run, program.loading.take(own), change.factor)
    late = run.lags["made"] != NO_EDGE
    run.lags["made"][late] = np.rint(run.lags["made"][late] * change.factor).astype(np.int64)
    work = graph.activity_nodes(np.flatnonzero(~collectives(program.activities)))
    least = {SWIFT: np.iinfo(np.int64).max, USUAL: SMALL_NS, SLOW: 0}[assumed]
    longer = work[run.own[work] >= least]
    run.own[longer] = np.rint(run.own[longer] * change.factor).astype(np.int64)
    return len(work)
