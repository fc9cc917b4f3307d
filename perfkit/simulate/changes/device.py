"""Changes to what devices do: copies, kernels, collectives, and how they are launched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.model.arrays import distinct
from perfkit.model.prediction import Which
from perfkit.model.program import NO_STEP, WAITS, Spans
from perfkit.model.trace import Category
from perfkit.simulate.changes.host import stop_waiting, take_faster
from perfkit.simulate.delays import in_graphs
from perfkit.simulate.engine import NO_EDGE
from perfkit.simulate.lags import BEHIND
from perfkit.simulate.subject import QUANTILE, SLOW, SWIFT, USUAL, inside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from perfkit.model.prediction import (
        CaptureGraph,
        FuseKernels,
        OverlapCollectives,
        OverlapCopies,
        ScaleBatch,
        SpeedUp,
    )
    from perfkit.model.program import Activities, Calls, Program, StepTimes
    from perfkit.simulate.replay import Run
    from perfkit.simulate.subject import Subject

    Ints = NDArray[np.int64]
    Mask = NDArray[np.bool_]

__all__ = ["capture_graph", "fuse_kernels", "overlap_collectives", "overlap_copies", "scale_batch", "speed_up"]

GRAPH_LAUNCH_NS: Final = {SWIFT: 3_500, USUAL: 50_000, SLOW: 100_000}
"""To launch a graph, and to copy the inputs of a step into its place: at least what CUDA.jl's manual measures of 80
kernels (https://cuda.juliagpu.org/dev/usage/graphs/)."""
GRAPH_PAUSE_NS: Final = 1_000
"""Between two activities of a graph, at most: in a chain of empty kernels each takes 0.58 us, start and end included
(https://github.com/ahrefs/ocannl/issues/488), in one of small kernels 0.87 us (CUDA.jl's manual, 80 in 70 us)."""
FIXED_NS: Final = 2_000
"""What a kernel takes that has nothing to do, about: that does not grow with the batch."""


def overlap_copies(subject: Subject, run: Run, change: OverlapCopies, assumed: int) -> int:
    """Have copies between host and device hold up neither the host nor their stream, a step ahead of their use."""
    program = subject.graph.program
    activities = program.activities
    copies = (activities.category == Category.MEMCPY) & ~activities.communicates
    copies &= subject.selection.activities(change.which) & (activities.call >= 0)
    waits = subject.graph.parts.waits
    # A synchronization of one stream right after such a copy is the copy's own.
    last = last_launches(program.calls)[waits.call]
    at_once = (activities.call[waits.activity] == last) & (program.waits[waits.call] == WAITS.index("stream"))
    for_copies = np.zeros(len(program.calls.row), bool)
    own = ~np.isin(program.waits[waits.call], (WAITS.index("stream"), WAITS.index("device")))
    for_copies[waits.call[copies[waits.activity] & (at_once | own)]] = True
    stop_waiting(subject, run, for_copies, assumed)
    bypass(subject, run, copies, (*BEHIND, "wait"))
    for kind in BEHIND:
        target = subject.graph.edges[kind].target - subject.graph.parts.host.nodes
        run.lags[kind][copies[target]] = NO_EDGE
    return int(copies.sum())


def last_launches(calls: Calls) -> Ints:
    """Return the last call before each, on the same thread, that handed work to a device, or -1."""
    found = np.full(len(calls.row), -1, np.int64)
    for thread in distinct(calls.thread).tolist():
        mine = np.flatnonzero(calls.thread == thread)
        last = np.maximum.accumulate(np.where(calls.launches[mine], mine, -1))
        found[mine[1:]] = last[:-1]
    return found


def bypass(subject: Subject, run: Run, away: Mask, kinds: Sequence[str] = BEHIND) -> None:
    """Have what waits for activities wait for what is before these on their stream instead."""
    graph = subject.graph
    run.away[:] |= away
    streams = graph.parts.streams
    order = streams.order
    stays = ~away[order]
    # For each place of the sorted streams the last one before it, on the same stream, that stays.
    last = np.maximum.accumulate(np.where(stays, np.arange(len(order)), -1))
    last = np.append(-1, last[:-1])[: len(order)]
    last = np.where(last >= streams.bounds[streams.of[order]], last, -1)
    before = np.full(len(order), -1, np.int64)
    before[order] = np.where(last >= 0, order[last], -1)
    away = np.append(away, False)  # of the host
    for kind in kinds:
        edges, lags, offset = graph.edges[kind], run.lags[kind], graph.parts.host.nodes
        target, source = np.maximum(edges.target - offset, -1), np.maximum(edges.source - offset, -1)
        some = np.flatnonzero(away[source] & ~away[target] & (lags != NO_EDGE))
        found = before[source[some]]
        lags[some[found < 0]] = NO_EDGE
        run.sources[kind][some[found >= 0]] = graph.activity_nodes(found[found >= 0])


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
    run.lags["event"][some], run.tables["event"][some] = 0, -1
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
    least, most = change.fused_ends_ns or (change.fused_ns, change.fused_ns)
    known = {SWIFT: least, USUAL: change.fused_ns, SLOW: most}[assumed]
    fused = np.minimum(np.full(len(first), known), total) if known else fused
    gone = np.ones(len(sets), bool)
    gone[first] = False
    run.own[nodes] = 0
    run.own[nodes[first]] = fused
    dropped = np.zeros(len(graph.program.activities.row), bool)
    dropped[sets[gone]] = True
    run.lags["launch"][dropped[graph.edges["launch"].target - graph.parts.host.nodes]] = NO_EDGE
    queue = graph.edges["queue"].target - graph.parts.host.nodes
    run.lags["queue"][dropped[queue]] = np.minimum(run.lags["queue"][dropped[queue]], 0)
    run.tables["queue"][dropped[queue]] = -1
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
    kept = distinct(activities.call[~dropped & (activities.call >= 0)])
    gone = distinct(activities.call[dropped & (activities.call >= 0)])
    gone = gone[~np.isin(gone, kept)]
    order = gone[np.lexsort((calls.start[gone], calls.thread[gone]))]
    alone = Spans(calls.thread[order], calls.start[order], calls.end[order], calls.row[order])
    if not whole_operators:
        return alone
    around = subject.selection.operators_around(gone)
    needed = np.zeros(len(around.row), bool)
    for thread in distinct(around.thread).tolist():
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
    """Launch a step's kernels at once: the host time of it goes, and pauses between them are those of a graph."""
    graph = subject.graph
    program, parts = graph.program, graph.parts
    activities = program.activities
    chosen = (subject.step_of >= 0) & (activities.call >= 0)
    captured = np.zeros(len(chosen), bool)  # on all devices of the process
    for steps in program.steps:
        captured[steps.activity[steps.step >= 0]] = True
    captured &= np.isin(activities.owner, activities.owner[chosen]) & (activities.call >= 0)
    if change.which == Which():
        chosen &= activities.category != Category.MEMCPY
        captured &= activities.category != Category.MEMCPY
        begin, until = launched_between(subject, captured)
        if assumed == SLOW:
            subject.scale_host(run, launching(subject, chosen, whole_operators=True), 0, SLOW)
        else:
            subject.scale_host(run, between(subject, captured, begin, until), 0, SWIFT)
    else:
        spans = subject.selection.operators(change.which)
        chosen &= subject.launched_inside(spans)
        captured &= subject.launched_inside(spans)
        subject.scale_host(run, spans, 0)
        begin, _ = launched_between(subject, chosen)
    first = first_calls(program, captured, begin)
    delays = parts.seen.delays(QUANTILE[assumed])
    pauses = parts.seen.mean_pauses(GRAPH_PAUSE_NS) if assumed == USUAL else np.minimum(delays.queue, GRAPH_PAUSE_NS)
    captured &= ~in_graphs(activities)  # what a graph launches already keeps its pauses
    for kind, delay in (("launch", delays.latency), ("queue", pauses), ("event", pauses)):
        target = graph.edges[kind].target - parts.host.nodes
        some = captured[target] & (run.lags[kind] != NO_EDGE)
        shown = (run.tables[kind] < 0) & (kind != "launch")
        run.lags[kind][some] = np.minimum(run.lags[kind], np.where(shown, GRAPH_PAUSE_NS, delay[target]))[some]
        run.tables[kind][some] = -1
    chain = subject.chain_of[parts.host.call_end[first]]
    run.lags["chain"][chain[chain >= 0]] += GRAPH_LAUNCH_NS[assumed]
    return int(chosen.sum())


def launched_between(subject: Subject, captured: Mask) -> tuple[Ints, Ints]:
    """Return when the first launch of each step begins and the last one ends, on whatever device of a process."""
    program = subject.graph.program
    activities, calls = program.activities, program.calls
    lost = np.flatnonzero(calls.launches & ~calls.with_activity & ~subject.graph.parts.waiting)  # from the recording
    found: dict[tuple[int, int], tuple[int, int]] = {}
    for steps in program.steps:
        some = captured[steps.activity] & (steps.step >= 0)
        mine, step = activities.call[steps.activity[some]], steps.step[some]
        more = lost[np.isin(calls.process[lost], calls.process[mine])]
        told = steps_at(steps, calls.start[more])
        mine, step = np.append(mine, more[told >= 0]), np.append(step, told[told >= 0])
        for one in distinct(step).tolist():
            of_step = mine[step == one]
            key = int(calls.process[of_step[0]]), one
            begin, until = int(calls.start[of_step].min()), int(calls.end[of_step].max())
            before = found.get(key, (begin, until))
            found[key] = min(before[0], begin), max(before[1], until)
    bounds = np.array(list(found.values()), np.int64).reshape(-1, 2)
    return bounds[:, 0], bounds[:, 1]


def first_calls(program: Program, captured: Mask, begin: Ints) -> Ints:
    """Return the first call that launches something captured from each time on."""
    call = distinct(program.activities.call[captured])
    place = np.searchsorted(program.calls.start[call], begin)
    return call[place[place < len(call)]]


def between(subject: Subject, captured: Mask, begin: Ints, until: Ints) -> Spans:
    """Return what threads that launch, and those they wait for, do in some stretches, without waits and loading."""
    program, parts = subject.graph.program, subject.graph.parts
    calls, loading, handoffs = program.calls, program.loading, parts.handoffs
    threads = calls.thread[program.activities.call[captured]]
    threads = np.append(threads, handoffs.working_thread[np.isin(handoffs.waiting_thread, threads)])
    bounds = list(zip(*merged(begin, until), strict=True))
    found = [np.empty((3, 0), np.int64)]
    for thread in distinct(threads).tolist():
        waits = np.flatnonzero(parts.waiting & (calls.thread == thread))
        loads = np.flatnonzero(loading.thread == thread)
        start = np.concatenate((calls.start[waits], loading.start[loads]))
        end = np.concatenate((calls.end[waits], loading.end[loads]))
        order = np.argsort(start, kind="stable")
        for first, last in bounds:
            some = order[(end[order] > first) & (start[order] < last)]
            low = np.append(first, np.maximum.accumulate(end[some]))
            high = np.append(start[some], last)
            found.append(np.stack((np.full(len(low), thread), low, high))[:, high > low])
    thread_of, start, end = np.concatenate(found, axis=1)
    order = np.lexsort((start, thread_of))
    return Spans(thread_of[order].astype(np.int32), start[order], end[order], np.full(len(order), -1))


def steps_at(steps: StepTimes, times: Ints) -> Ints:
    """Return the steps in which something is launched that left no activity; NO_STEP where no mark tells."""
    if steps.marks is not None:
        return steps.marks.step[np.searchsorted(steps.marks.time, times, "right")]
    return np.full(len(times), 0 if len(steps.edges) == 2 else NO_STEP)  # noqa: PLR2004  the whole window


def merged(begin: Ints, until: Ints) -> tuple[Ints, Ints]:
    """Return stretches with those joined that overlap, by their beginning."""
    order = np.argsort(begin, kind="stable")
    begin, until = begin[order], np.maximum.accumulate(until[order])
    first = np.flatnonzero(np.append(True, begin[1:] > until[:-1])[: len(begin)])
    return begin[first], until[np.append(first[1:], len(until))[: len(first)] - 1]


def scale_batch(subject: Subject, run: Run, change: ScaleBatch, assumed: int) -> int:
    """Give loading, copies and the kernels that fill the device as much more to do."""
    graph = subject.graph
    program, parts = graph.program, graph.parts
    own = np.flatnonzero(~parts.batches.by_workers)
    subject.scale_host(run, program.loading.take(own), change.factor)
    late = run.lags["made"] != NO_EDGE
    run.lags["made"][late] = np.rint(run.lags["made"][late] * change.factor).astype(np.int64)
    if assumed == SLOW:
        take_faster(subject, run, change.factor)
    work = graph.activity_nodes(np.flatnonzero(~collectives(program.activities)))
    if assumed != SWIFT:
        fixed = np.minimum(run.own[work], FIXED_NS if assumed == USUAL else 0)
        run.own[work] = fixed + np.rint((run.own[work] - fixed) * change.factor).astype(np.int64)
    return len(work)
