"""Changes to what host threads do: loading, waiting, and any other work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.model.arrays import distinct
from perfkit.model.program import WAITS
from perfkit.simulate.engine import NO_EDGE
from perfkit.simulate.subject import SLOW, SWIFT, USUAL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.model.prediction import OverlapLoader, RemoveHostTime, RemoveSync, SpeedUpLoader
    from perfkit.simulate.replay import Run
    from perfkit.simulate.subject import Subject

    Ints = NDArray[np.int64]
    Mask = NDArray[np.bool_]

__all__ = ["overlap_loader", "remove_host_time", "remove_sync", "speed_up_loader", "take_faster"]

HANDING_OVER_NS: Final = {SWIFT: 0, USUAL: 100_000, SLOW: 1_000_000}
"""To take a batch that is ready from the queue of its workers."""
TAKEN_FROM_LAUNCHES: Final = 1 / 3
"""Of the time that workers load, what the program loses at most: two threads of a core have two thirds of it each."""
TAKEN_FROM_OPERATORS: Final = 1 / 2
"""The same where the program computes on the host's cores itself, and they are two."""
PREFETCHED: Final = 2
"""Batches that each worker has ready or under way: the `prefetch_factor` of PyTorch."""


def overlap_loader(subject: Subject, run: Run, change: OverlapLoader, assumed: int) -> int:
    """Have worker processes load what the program loads itself; if they are enough, nobody waits for a worker."""
    graph, batches = subject.graph, subject.graph.parts.batches
    loading = graph.program.loading
    own = np.flatnonzero(~batches.by_workers)
    if assumed == SLOW:
        share_cores(subject, run, own, change.computes)
    subject.scale_host(run, loading.take(own), 0)
    chain = subject.chain_of[graph.parts.host.loading_end[own]]
    run.lags["chain"][chain[chain >= 0]] += np.minimum(HANDING_OVER_NS[assumed], (loading.end - loading.start)[own])[
        chain >= 0
    ]
    if change.workers:
        limit_workers(subject, run, own, change.workers, HANDING_OVER_NS[assumed])
        return len(loading.row)
    run.lags["arrival"][:] = NO_EDGE
    waited = batches.by_workers if assumed == SWIFT else batches.late
    late = subject.chain_of[graph.parts.host.loading_end[np.flatnonzero(waited)]]
    run.lags["chain"][late] = np.minimum(run.lags["chain"][late], HANDING_OVER_NS[assumed])
    return len(loading.row)


def share_cores(subject: Subject, run: Run, own: Ints, computes: float) -> None:
    """Slow the host down by what workers take from it while they load, which they do not do all the time."""
    graph = subject.graph
    loading, host, edges = graph.program.loading, graph.parts.host, graph.edges["chain"]
    works = np.ones(host.nodes, bool)
    works[host.call_end[graph.parts.waiting]] = False
    for thread in distinct(loading.thread[own]).tolist():
        mine = (host.thread[edges.target] == thread) & works[edges.target]
        some = loading.thread[own] == thread
        loaded = int((loading.end - loading.start)[own][some].sum())
        busy = int(run.lags["chain"][mine].sum()) - loaded
        taken = loaded * computes * (TAKEN_FROM_OPERATORS if subject.steps.thread >= 0 else TAKEN_FROM_LAUNCHES)
        if busy > 0:
            slower = 1 + min(1.0, taken / busy)
            run.lags["chain"][mine] = np.rint(run.lags["chain"][mine] * slower).astype(np.int64)


def limit_workers(subject: Subject, run: Run, own: Ints, workers: int, handing_over: int) -> None:
    """Have ``workers`` processes load the batches in turn, each for as long as it took, and not too far ahead.

    They begin when the first batch is asked for.
    """
    graph = subject.graph
    loading, host = graph.program.loading, graph.parts.host
    arrivals = host.nodes + len(graph.program.activities.row)
    lasted = loading.end - loading.start
    slot = {"made": np.arange(len(lasted)), "taken": np.full(len(lasted), -1, np.int64)}
    following = graph.edges["taken"].target - arrivals
    slot["taken"][following] = np.arange(len(following))
    run.lags["arrival"][own] = np.minimum(handing_over, lasted[own])
    run.lags["made"][own] = lasted[own]
    run.sources["made"][own] = host.loading_start[graph.parts.batches.first[own]]
    for kind, behind in (("made", workers), ("taken", workers * PREFETCHED)):
        batch = own[own >= behind]
        batch = batch[loading.thread[batch] == loading.thread[batch - behind]]
        nodes = batch - behind + arrivals if kind == "made" else host.loading_end[batch - behind]
        run.lags[kind][slot[kind][batch]] = lasted[batch]
        run.sources[kind][slot[kind][batch]] = nodes


def speed_up_loader(subject: Subject, run: Run, change: SpeedUpLoader, assumed: int) -> int:
    """Load every batch in less time."""
    graph, batches = subject.graph, subject.graph.parts.batches
    own = np.flatnonzero(~batches.by_workers)
    subject.scale_host(run, graph.program.loading.take(own), 1 / change.factor)
    made = run.lags["made"]
    late = made != NO_EDGE
    made[late] = np.rint(made[late] / change.factor).astype(np.int64)
    if assumed == SWIFT:
        take_faster(subject, run, 1 / change.factor)
    return len(graph.program.loading.row)


def take_faster(subject: Subject, run: Run, factor: float) -> None:
    """Take batches from workers in another time: what seems to be needed for it may have been waited for, too."""
    graph, batches = subject.graph, subject.graph.parts.batches
    chain = subject.chain_of[graph.parts.host.loading_end[batches.by_workers]]
    run.lags["chain"][chain] = np.rint(run.lags["chain"][chain] * factor).astype(np.int64)
    late = run.lags["arrival"] != NO_EDGE
    run.lags["arrival"][late] = np.rint(run.lags["arrival"][late] * factor).astype(np.int64)


def remove_sync(subject: Subject, run: Run, change: RemoveSync, assumed: int) -> int:
    """Remove calls that wait, or have them wait for less."""
    parts = subject.graph.parts
    chosen = parts.waiting & subject.selection.calls(change.which)
    if change.deferred:
        defer(subject, run, chosen)
        return int(chosen.sum())
    stop_waiting(subject, run, chosen, assumed)
    return int(chosen.sum())


def stop_waiting(subject: Subject, run: Run, chosen: Mask, assumed: int) -> None:
    """Let calls wait for nothing: copies are still submitted, what only waits is gone."""
    parts = subject.graph.parts
    run.lags["wait"][chosen[parts.waits.call]] = NO_EDGE
    calls = np.flatnonzero(chosen)
    chain = subject.chain_of[parts.host.call_end[calls]]
    calls, chain = calls[chain >= 0], chain[chain >= 0]
    only = np.isin(subject.graph.program.waits[calls], [WAITS.index("stream"), WAITS.index("device")])
    alone = subject.call_alone(assumed)[calls]
    run.lags["chain"][chain] = np.where(only, 0, np.minimum(run.lags["chain"][chain], alone))


def defer(subject: Subject, run: Run, chosen: Mask) -> None:
    """Have calls wait for what had been launched before their step began."""
    waits = subject.graph.parts.waits
    some = np.flatnonzero(chosen[waits.call])
    earlier = subject.last_of_earlier_step[waits.activity[some]]
    run.lags["wait"][some[earlier < 0]] = NO_EDGE
    run.sources["wait"][some[earlier >= 0]] = subject.graph.activity_nodes(earlier[earlier >= 0])


def remove_host_time(subject: Subject, run: Run, change: RemoveHostTime, assumed: int) -> int:
    """Take the time of a cause away from host threads; a call that waits is still made."""
    spans = subject.selection.host_time(change.cause, change.which)
    made = subject.chain_of[subject.graph.parts.host.call_end[subject.graph.parts.waiting]]
    lags = run.lags["chain"][made]
    subject.scale_host(run, spans, 0, assumed)
    run.lags["chain"][made] = lags
    return len(spans.row)
