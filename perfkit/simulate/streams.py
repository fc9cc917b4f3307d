"""What device activities wait for: their launch, what is before them on their stream, and work of other streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.model.program import Activities, Calls, Program

    Ints = NDArray[np.int64]
    Mask = NDArray[np.bool_]

__all__ = ["Streams", "Typical", "event_links", "last_before", "typical"]

NEAR_NS: Final = 10_000
"""What begins so soon after the end of something on another stream had waited for it."""
UNKNOWN_LATENCY_NS: Final = 5_000
UNKNOWN_QUEUE_NS: Final = 1_500


class Streams(NamedTuple):
    """Activities by stream: each stream's in order of start.

    Attributes:
        order: Positions of activities, stream after stream.
        bounds: Stream ``s`` is ``order[bounds[s] : bounds[s + 1]]``.
        of: The stream of each activity.
        process: The process that works with each stream, or -1.
        before: What is before each activity on its stream, or -1.
        launched: When each activity was handed to its device: the end of its call, or its start where the call waits.
    """

    order: Ints
    bounds: Ints
    of: Ints
    process: Ints
    before: Ints
    launched: Ints

    @classmethod
    def find(cls, program: Program, waiting: Mask) -> Streams:
        """Sort the activities of a program; ``waiting`` marks calls that wait for something."""
        activities, calls = program.activities, program.calls
        key = np.stack((activities.owner, activities.device, activities.stream), axis=1).astype(np.int64)
        if len(key):
            _, stream = np.unique(key, axis=0, return_inverse=True)
            stream = stream.reshape(-1).astype(np.int64)
        else:
            stream = np.empty(0, np.int64)
        order = np.argsort(stream, kind="stable")
        count = int(stream.max(initial=-1)) + 1
        bounds = np.searchsorted(stream[order], np.arange(count + 1))
        before = np.full(len(stream), -1, np.int64)
        same = stream[order[1:]] == stream[order[:-1]]
        before[order[1:][same]] = order[:-1][same]
        process = activities.owner[order[bounds[:-1]]].astype(np.int64) if count else np.empty(0, np.int64)
        return cls(order, bounds, stream, process, before, launch_times(activities, calls, waiting))

    def of_several_threads(self, program: Program) -> Ints:
        """Return the streams that several threads launch on."""
        linked = np.flatnonzero(program.activities.call >= 0)
        thread = program.calls.thread[program.activities.call[linked]].astype(np.int64)
        pair = np.unique(np.stack((self.of[linked], thread), axis=1), axis=0)
        stream, count = np.unique(pair[:, 0], return_counts=True)
        several: Ints = stream[count > 1]
        return several


def launch_times(activities: Activities, calls: Calls, waiting: Mask) -> Ints:
    """Return when each activity was handed to its device; its own start where no call is known."""
    linked = activities.call >= 0
    if not linked.any():
        return activities.start.copy()
    at = np.where(waiting, calls.start, calls.end)[activities.call]
    return np.where(linked, at, activities.start)


class Typical(NamedTuple):
    """How long things take that only sometimes show: one quantile of where they do. In ns, by activity.

    Attributes:
        latency: From the launch to the start, where nothing else held it up.
        queue: From the end of what was waited for to the start.
    """

    latency: Ints
    queue: Ints


def typical(program: Program, streams: Streams, quantile: float) -> Typical:
    """Measure delays on the activities that show them, those of copies apart from the others."""
    activities = program.activities
    before, launched = streams.before, streams.launched
    free = np.where(before >= 0, activities.end[before], np.iinfo(np.int64).min) if len(before) else before
    linked = activities.call >= 0
    at_once = linked & (free <= launched)
    queued = linked & (before >= 0) & (free > launched + UNKNOWN_LATENCY_NS)
    copies = program.calls.is_copy[activities.call] & linked if len(program.calls.row) else linked
    latency = np.empty(len(before), np.int64)
    queue = np.empty(len(before), np.int64)
    for kind in (copies, ~copies):
        latency[kind] = measured((activities.start - launched)[kind & at_once], quantile, UNKNOWN_LATENCY_NS)
        queue[kind] = measured((activities.start - free)[kind & queued], quantile, UNKNOWN_QUEUE_NS)
    return Typical(latency, queue)


def measured(values: Ints, quantile: float, unknown: int) -> int:
    """Return a quantile of what was measured."""
    return int(np.quantile(values, quantile)) if len(values) else unknown


def last_before(program: Program, streams: Streams, stream: int, times: Ints) -> Ints:
    """Return the last activity on a stream that was launched by each time, or -1."""
    members = streams.order[streams.bounds[stream] : streams.bounds[stream + 1]]
    calls, call = program.calls, program.activities.call[members]
    handed = np.where(call >= 0, calls.start[call], program.activities.start[members]) if len(calls.row) else call
    place = np.searchsorted(np.maximum.accumulate(handed), times) - 1
    return np.where(place >= 0, members[place], -1)


def event_links(program: Program, streams: Streams, usual: Typical) -> tuple[Ints, Ints]:
    """Return pairs of activities of which the second, on another stream, waits for the first.

    From the calls that record an event and have a stream wait for it (which stream, most profilers do not say: the one
    of the next launch waits for the others' work), and from activities that begin as soon as something elsewhere ends,
    when nothing else explains why they had not begun before. What contradicts the recorded times is left out.
    """
    told, seen = links_of_calls(program, streams), links_of_times(program, streams, usual)
    first, second = np.concatenate((told[0], seen[0])), np.concatenate((told[1], seen[1]))
    activities = program.activities
    possible = (activities.end[first] <= activities.start[second]) & (first != second)
    return first[possible], second[possible]


def links_of_calls(program: Program, streams: Streams) -> tuple[Ints, Ints]:
    """Return the pairs that calls tell of."""
    calls = program.calls
    none = np.empty(0, np.int64), np.empty(0, np.int64)
    records, waits = np.flatnonzero(program.records_event), np.flatnonzero(program.awaits_event)
    launched = np.flatnonzero(program.activities.call >= 0)
    if not len(records) or not len(waits) or not len(launched):
        return none
    found: list[tuple[Ints, Ints]] = [none]
    order = launched[np.argsort(program.activities.call[launched], kind="stable")]
    thread = calls.thread[program.activities.call[order]]
    for process in np.unique(calls.process[waits]).tolist():
        recorded = records[calls.process[records] == process]
        waiting = waits[calls.process[waits] == process]
        event = np.searchsorted(recorded, waiting) - 1
        waiting, event = waiting[event >= 0], recorded[event[event >= 0]]
        for own in np.unique(calls.thread[waiting]).tolist():
            mine = order[thread == own]
            some = np.flatnonzero(calls.thread[waiting] == own)
            next_one = np.searchsorted(program.activities.call[mine], waiting[some])
            some, second = some[next_one < len(mine)], mine[next_one[next_one < len(mine)]]
            first = last_elsewhere(program, streams, order, event[some], streams.of[second])
            found.append((first[first >= 0], second[first >= 0]))
    return np.concatenate([pair[0] for pair in found]), np.concatenate([pair[1] for pair in found])


def last_elsewhere(program: Program, streams: Streams, order: Ints, event: Ints, stream: Ints) -> Ints:
    """Return what the thread of each event's record had last launched before on another stream than ``stream``."""
    calls = program.calls
    answer = np.full(len(event), -1, np.int64)
    thread = calls.thread[program.activities.call[order]]
    for own in np.unique(calls.thread[event]).tolist():
        mine = order[thread == own]
        some = np.flatnonzero(calls.thread[event] == own)
        if not len(mine):
            continue
        on = streams.of[mine]
        changes = np.append(True, on[1:] != on[:-1])
        # The last one on another stream lies just before the run of launches on one stream that each is in.
        previous = np.maximum.accumulate(np.where(changes, np.arange(len(mine)), 0)) - 1
        place = np.searchsorted(program.activities.call[mine], event[some]) - 1
        place = np.where((place >= 0) & (on[place] == stream[some]), previous[place], place)
        answer[some] = np.where(place >= 0, mine[place], -1)
    return answer


def links_of_times(program: Program, streams: Streams, usual: Typical) -> tuple[Ints, Ints]:
    """Return the pairs that only times tell of."""
    activities = program.activities
    if not len(activities.row) or len(streams.bounds) < 3:  # noqa: PLR2004  one stream has nobody to wait for
        return np.empty(0, np.int64), np.empty(0, np.int64)
    before = streams.before
    explained = np.where(before >= 0, activities.end[before] + usual.queue, np.iinfo(np.int64).min)
    explained = np.maximum(explained, np.where(activities.call >= 0, streams.launched + usual.latency, explained))
    second = np.flatnonzero((activities.start - NEAR_NS > explained) & (activities.call >= 0))
    by_end = np.argsort(activities.end, kind="stable")
    place = np.searchsorted(activities.end[by_end], activities.start[second], "right") - 1
    second, first = second[place >= 0], by_end[place[place >= 0]]
    fits = (streams.of[first] != streams.of[second]) & (activities.owner[first] == activities.owner[second])
    fits &= (activities.call[first] < activities.call[second]) & (
        activities.start[second] - activities.end[first] <= NEAR_NS
    )
    return first[fits], second[fits]
