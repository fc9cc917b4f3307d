"""The lags of a graph's edges: as they were seen where they show, and what they may have been where they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.simulate.engine import ALWAYS, LATEST, NO_EDGE
from perfkit.simulate.waits import wait_times

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.model.program import Program
    from perfkit.simulate.delays import Draws
    from perfkit.simulate.graph import Edges, Parts

    Ints = NDArray[np.int64]

__all__ = ["BEHIND", "EXCHANGED", "MEDIAN", "QUANTILES", "measure", "measure_devices", "usual_lags"]

MEDIAN: Final = 0.5
SHORT: Final = 0.1
LONG: Final = 0.9
QUANTILES: Final = (MEDIAN, SHORT, LONG)
EXCHANGED: Final = ("launch", "queue", "event", "wait")
"""What host and device exchange. Its delays are the model's, where host time and device work are the trace's own."""

CLEARLY: Final = 2
BY_THEN: Final = 0.75
"""A batch that was ready, and is usually made in longer than there was, usually came at this part of that time."""
BEHIND: Final = ("queue", "event")
"""What an activity is behind of."""


def measure(
    program: Program, parts: Parts, edges: dict[str, Edges], seen: Ints, own: Ints, quantile: float
) -> dict[str, Ints]:
    """Find the lags of all edges so that a replay without a change gives the recorded times.

    Of all that can hold something up, what could last be taken for the reason has been it: its lag is what was seen.
    The lags of the others did not show; they are usual ones, or as much shorter as they must have been.
    """
    batches = parts.batches
    usual = usual_lags(program, parts, edges, quantile)
    slack = {kind: (seen - own)[some.target] - seen[some.source] for kind, some in edges.items()}
    lags = {kind: np.minimum(usual[kind], slack[kind]) for kind in usual}
    latest = np.full(len(seen), ALWAYS)
    for kind, lag in lags.items():
        np.maximum.at(latest, edges[kind].target, np.where(lag > ALWAYS, seen[edges[kind].source] + lag, ALWAYS))
    for kind, lag in lags.items():
        some = edges[kind]
        bound = (seen[some.source] + lag >= latest[some.target]) & (lag > ALWAYS)
        lags[kind] = np.where(bound, slack[kind], lag)
    if quantile == SHORT:
        lags["wait"][~parts.waits.sure] = NO_EDGE
    none = {kind: np.full(len(some), NO_EDGE) for kind, some in edges.items() if kind not in lags}
    # What was not late may have come at any time before; no sooner than batches are made, as far as that is known.
    made = edges["made"]
    taken = seen[made.target] - seen[made.source]
    making = {MEDIAN: batches.usual_making, SHORT: np.zeros_like(taken), LONG: batches.longest_making}[quantile]
    by_then = taken if quantile == LONG else np.rint(BY_THEN * taken).astype(np.int64)
    known = batches.late | (batches.by_workers & (making > 0))
    none["made"] = np.where(known, np.where(batches.late, taken, np.minimum(making, by_then)), NO_EDGE)
    lags["arrival"] = np.where(known, batches.handling, NO_EDGE)
    return {kind: (lags | none)[kind] for kind in edges}


def measure_devices(
    program: Program, parts: Parts, edges: dict[str, Edges], draws: Draws, seen: Ints, own: Ints
) -> tuple[dict[str, Ints], dict[str, NDArray[np.int32]], Ints]:
    """Find the lags of edges to activities, the tables to draw those from that did not show, and the anchored nodes.

    An activity whose stream was free when its launch got there began as soon as that did: how long it would have queued
    is not known. Another one began some time after its stream was free, and had got there before. What was launched
    before the recording begins when it did, unless it queued.
    """
    offset, usual, known = parts.host.nodes, parts.usual, len(parts.streams.of)
    start = (seen - own)[offset : offset + known]
    launched, free = np.full(known, ALWAYS), np.full(known, ALWAYS)
    launched[edges["launch"].target - offset] = seen[edges["launch"].source]
    for kind in BEHIND:
        some = edges[kind].source >= offset
        np.maximum.at(free, edges[kind].target[some] - offset, seen[edges[kind].source[some]])
    there = launched + np.minimum(usual.latency, start - launched)
    queued = (free > launched) & (free + np.minimum(usual.queue, start - free) > there) | (free > start)
    anchored = parts.streams.before_recording(program) & (start - free > CLEARLY * usual.queue)
    queued &= ~anchored
    lags, tables = {}, {}
    for kind in ("launch", *BEHIND):
        node = edges[kind].target - offset
        if kind == "launch":
            shown, slack = ~queued[node], (start - launched)[node]
            most, table = (np.minimum(free - 1, start) - launched)[node], draws.latency
        else:
            shown, slack = queued[node], (start - free)[node]
            most, table = np.full(len(node), LATEST), draws.queue
        lags[kind] = np.where(shown, slack, most)
        tables[kind] = np.where(shown, -1, table[node]).astype(np.int32)
        if kind != "launch":  # of nothing before
            lags[kind][edges[kind].source < offset] = NO_EDGE
    return lags, tables, np.flatnonzero(anchored) + offset


def usual_lags(program: Program, parts: Parts, edges: dict[str, Edges], quantile: float) -> dict[str, Ints]:
    """Return what the lag of each edge would be if nothing but its source had held its target up."""
    waiting, batches, host = parts.waiting, parts.batches, parts.host
    offset = host.nodes
    device = parts.seen.delays(quantile)
    times = wait_times(program, parts.waits, waiting, quantile)
    chain = np.full(host.nodes, np.iinfo(np.int64).max)  # a thread takes the time that it took
    both = np.flatnonzero(waiting)
    chain[host.call_end[both]] = times.own[both]
    chain[np.concatenate((host.begun, host.resumed))] = 0
    chain[host.loading_end[batches.late]] = batches.handling[batches.late]
    return {
        "chain": chain[edges["chain"].target],
        "launch": device.latency[edges["launch"].target - offset],
        "queue": device.queue[edges["queue"].target - offset],
        "event": device.queue[edges["event"].target - offset],
        "wait": times.back[parts.waits.call],
        "arrival": np.where(batches.late, batches.handling, NO_EDGE),
        "handoff": np.zeros(2 * len(parts.handoffs.asked), np.int64),
    }
