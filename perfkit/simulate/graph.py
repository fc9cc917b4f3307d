"""The graph of a program: moments of host threads and ends of device activities, and what each has to wait for."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from perfkit.simulate.delays import Seen
from perfkit.simulate.engine import ALWAYS, NO_EDGE
from perfkit.simulate.handoffs import find_handoffs
from perfkit.simulate.lags import BEHIND, EXCHANGED, MEDIAN, QUANTILES, measure, measure_devices, usual_lags
from perfkit.simulate.loaders import find_batches
from perfkit.simulate.schedule import Schedule
from perfkit.simulate.streams import Streams, event_links
from perfkit.simulate.waits import crossing_waits, find_waits, waiting_calls

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.model.program import Program
    from perfkit.simulate.delays import Delays, Draws
    from perfkit.simulate.engine import Engine
    from perfkit.simulate.handoffs import Handoffs
    from perfkit.simulate.loaders import Batches
    from perfkit.simulate.waits import Waits

    Ints = NDArray[np.int64]
    Numbers = NDArray[np.int32]

__all__ = ["Edges", "Graph", "Host", "Parts", "build"]

START, JOIN, CALL, FORK = range(4)
"""At one time on one thread, what was waited for elsewhere comes first, and what waits for this comes last."""


class Host(NamedTuple):
    """The moments of host threads that something else depends on, by thread, then time; these are nodes 0, 1 ...

    ``call_start`` and ``call_end`` give the node of each call, or -1: both of a call that waits, the end alone of one
    that only launches. The others give the nodes of loading spans, handoffs and ends of steps.
    """

    thread: Ints
    time: Ints
    call_start: Ints
    call_end: Ints
    loading_start: Ints
    loading_end: Ints
    asked: Ints
    begun: Ints
    done: Ints
    resumed: Ints
    steps: Ints

    @property
    def nodes(self) -> int:
        """How many there are."""
        return len(self.time)


class Parts(NamedTuple):
    """What the graph of a program is made of.

    ``waiting`` marks the calls that wait for something; ``links`` are pairs of activities on two streams of which the
    second waits for the first; ``seen`` are the delays of devices that show, and ``usual`` what they usually are;
    ``shared`` are the streams that several threads launch on, and ``crossing`` the waits for one that another thread
    launches on.
    """

    waiting: NDArray[np.bool_]
    streams: Streams
    waits: Waits
    handoffs: Handoffs
    batches: Batches
    host: Host
    links: tuple[Ints, Ints]
    seen: Seen
    usual: Delays
    shared: Ints
    crossing: Ints


class Edges:
    """Edges of one kind, as arrays of nodes: each target can be no earlier than its source and a lag."""

    __slots__ = ("source", "target")

    def __init__(self, source: Ints, target: Ints) -> None:
        """Take both ends of each."""
        self.source, self.target = source, target

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.source)


class Graph(NamedTuple):
    """A program's graph. Nodes: the host's moments, the ends of activities, the arrivals of batches.

    Attributes:
        program: What it was made of.
        parts: What was found in it.
        edges: Edges by kind.
        kinds: Where those of each kind are among all.
        target: The targets of all edges, one kind after another, int32.
        source: Their sources.
        behind: Which of them are of a kind of BEHIND, uint8.
        seen: The nodes by the time at which they were recorded, int32.
        schedule: An order that suits all edges.
        earliest: By node: where it is if nothing leads to it, ns.
        own: By node: how long its activity takes, ns.
        anchored: The nodes that are never before ``earliest``.
        lags: Of all edges, three times: delays of the host that did not show taken to be usual, as short and as long
            as one in ten. And a fourth time, with all delays between host and device taken to be usual.
        tables: Of all edges: the table of ``draws`` that a delay of a device that did not show is drawn from, or -1.
        draws: What these may have been.
    """

    program: Program
    parts: Parts
    edges: dict[str, Edges]
    kinds: dict[str, slice]
    target: Numbers
    source: Numbers
    behind: NDArray[np.uint8]
    seen: Numbers
    schedule: Schedule
    earliest: Ints
    own: Ints
    anchored: Ints
    lags: list[Ints]
    tables: Numbers
    draws: Draws

    def activity_nodes(self, activities: Ints) -> Ints:
        """Return the nodes of activities."""
        return activities + self.parts.host.nodes


def build(program: Program, engine: Engine) -> Graph:
    """Make the graph of a program."""
    parts = find_parts(program)
    edges = connect(program, parts)
    activities, batches = program.activities, parts.batches
    own = np.zeros(parts.host.nodes + len(activities.row) + len(batches.arrived), np.int64)
    own[parts.host.nodes :][: len(activities.row)] = activities.end - activities.start
    time = np.concatenate((parts.host.time, activities.end, batches.arrived))
    count = [len(some) for some in edges.values()]
    bounds = np.cumsum([0, *count]).tolist()
    kinds = {kind: slice(*ends) for kind, ends in zip(edges, itertools.pairwise(bounds), strict=True)}
    behind = np.repeat([kind in BEHIND for kind in edges], count).astype(np.uint8)
    source, target = (
        np.concatenate([getattr(some, end) for some in edges.values()]).astype(np.int32) for end in ("source", "target")
    )
    seen = np.argsort(time, kind="stable").astype(np.int32)
    earliest = time - own
    earliest[len(time) - len(batches.late) :] = ALWAYS
    draws = parts.seen.draws(len(time))
    devices, drawn, anchored = measure_devices(program, parts, edges, draws, time, own)
    lags = [measure(program, parts, edges, time, own, quantile) | devices for quantile in QUANTILES]
    lags.append(lags[0] | {kind: usual_lags(program, parts, edges, MEDIAN)[kind] for kind in EXCHANGED})
    lags[-1]["queue"][devices["queue"] == NO_EDGE] = NO_EDGE
    for kind in BEHIND:  # what nobody is known to have launched began when it did
        unknown = activities.call[edges[kind].target - parts.host.nodes] < 0
        lags[-1][kind][unknown] = devices[kind][unknown]
    tables = np.full(len(target), -1, np.int32)
    for kind, some in drawn.items():
        tables[kinds[kind]] = some
    schedule = Schedule.find(engine, target, source, np.arange(len(target)), seen)
    return Graph(
        program=program,
        parts=parts,
        edges=edges,
        kinds=kinds,
        target=target,
        source=source,
        behind=behind,
        seen=seen,
        schedule=schedule,
        earliest=earliest,
        own=own,
        anchored=anchored,
        lags=[np.concatenate([some[kind] for kind in edges]) for some in lags],
        tables=tables,
        draws=draws,
    )


def find_parts(program: Program) -> Parts:
    """Find what the graph is made of."""
    waiting = waiting_calls(program)
    streams = Streams.find(program, waiting)
    waits = find_waits(program, streams, waiting)
    handoffs, batches = find_handoffs(program), find_batches(program)
    host = find_moments(program, waiting, handoffs)
    links = event_links(program, streams, Seen.find(program, streams))
    seen = Seen.find(program, streams, links)
    shared, crossing = streams.of_several_threads(program), crossing_waits(program, streams, waits)
    return Parts(waiting, streams, waits, handoffs, batches, host, links, seen, seen.delays(MEDIAN), shared, crossing)


def find_moments(program: Program, waiting: NDArray[np.bool_], handoffs: Handoffs) -> Host:
    """Find the moments of host threads that matter."""
    calls, loading = program.calls, program.loading
    both = np.flatnonzero(waiting)
    end = np.flatnonzero(waiting | calls.with_activity)
    steps = [step for step in program.steps if step.thread >= 0]
    edges = np.concatenate([np.empty(0, np.int64), *(step.edges for step in steps)])
    edge_thread = np.repeat([step.thread for step in steps], [len(step.edges) for step in steps])
    started, since = starts(program, handoffs)
    moments = [  # thread, time, rank among those of one time, and what keeps calls in their order
        (calls.thread[both], calls.start[both], CALL, 2 * both),
        (calls.thread[end], calls.end[end], CALL, 2 * end + 1),
        (loading.thread, loading.start, FORK, np.zeros(len(loading.start))),
        (loading.thread, loading.end, JOIN, np.zeros(len(loading.start))),
        (handoffs.waiting_thread, handoffs.asked, FORK, np.ones(len(handoffs.asked))),
        (handoffs.working_thread, handoffs.begun, JOIN, np.ones(len(handoffs.asked))),
        (handoffs.working_thread, handoffs.done, FORK, np.ones(len(handoffs.asked))),
        (handoffs.waiting_thread, handoffs.resumed, JOIN, np.ones(len(handoffs.asked))),
        (edge_thread, edges, FORK, np.full(len(edges), 2)),
        (started, since, START, np.zeros(len(since))),
    ]
    count = [len(time) for _, time, _, _ in moments]
    thread = np.concatenate([some for some, _, _, _ in moments]).astype(np.int64)
    time = np.concatenate([some for _, some, _, _ in moments])
    rank = np.repeat([some for _, _, some, _ in moments], count)
    order = np.lexsort((np.concatenate([some for _, _, _, some in moments]), rank, time, thread))
    node = np.empty(len(order), np.int64)
    node[order] = np.arange(len(order))
    nodes = np.split(node, np.cumsum(count)[:-1])
    call_start, call_end = np.full(len(calls.row), -1, np.int64), np.full(len(calls.row), -1, np.int64)
    call_start[both], call_end[end] = nodes[0], nodes[1]
    return Host(thread[order], time[order], call_start, call_end, *nodes[2:-1])


def starts(program: Program, handoffs: Handoffs) -> tuple[NDArray[np.int32], Ints]:
    """Return the threads and when each began what is recorded of it; without those that another thread set to work."""
    host = program.host
    thread, first = np.unique(host.thread, return_index=True)
    since = host.start[first]
    told = np.full(len(program.process_of_thread) + 1, np.iinfo(np.int64).max)
    np.minimum.at(told, handoffs.working_thread, handoffs.begun)
    own = since < told[thread]
    return thread[own], since[own]


def connect(program: Program, parts: Parts) -> dict[str, Edges]:
    """Say what waits for what, by kind of edge."""
    waiting, streams, waits, batches, host = parts.waiting, parts.streams, parts.waits, parts.batches, parts.host
    activities, offset = program.activities, host.nodes
    arrivals = offset + len(activities.row)
    chained = np.flatnonzero(host.thread[1:] == host.thread[:-1]) + 1
    linked = np.flatnonzero(activities.call >= 0)
    call = activities.call[linked]
    launched = np.full(len(activities.row), -1, np.int64)
    launched[linked] = np.where(waiting[call], host.call_start[call], host.call_end[call])
    # The first of a stream that threads share may come to be behind others: until then its edge holds nothing up.
    behind = np.flatnonzero((streams.before >= 0) | np.isin(streams.of, parts.shared) & (activities.call >= 0))
    first, second = parts.links
    batch, following = np.arange(len(batches.arrived)), np.flatnonzero(batches.previous >= 0)
    previous = batches.previous[following]
    # Workers began when a batch was first asked for.
    since = np.where(batches.previous_late >= 0, batches.previous_late + arrivals, host.loading_start[batches.first])
    return {
        "chain": Edges(chained - 1, chained),
        "launch": Edges(launched[linked], linked + offset),
        "queue": Edges(np.where(streams.before < 0, launched, streams.before + offset)[behind], behind + offset),
        "event": Edges(first + offset, second + offset),
        "wait": Edges(waits.activity + offset, host.call_end[waits.call]),
        "handoff": Edges(np.concatenate((host.asked, host.done)), np.concatenate((host.begun, host.resumed))),
        "arrival": Edges(batch + arrivals, host.loading_end),
        "made": Edges(since, batch + arrivals),
        "taken": Edges(host.loading_end[previous], following + arrivals),
    }
