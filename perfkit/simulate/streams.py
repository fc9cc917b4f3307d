"""What device activities wait for: their launch, what is before them on their stream, and work of other streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from perfkit.model.arrays import distinct
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.model.program import Activities, Calls, Program
    from perfkit.simulate.delays import Seen

    Ints = NDArray[np.int64]
    Mask = NDArray[np.bool_]

__all__ = ["Streams", "by_call", "event_links", "last_before", "last_launch"]

NEAR_NS: Final = 10_000
"""What begins so soon after the end of something on another stream had waited for it,"""
MEDIAN: Final = 0.5
MOSTLY: Final = 0.75
"""unless the latency of so many launches explains it."""


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

    def before_recording(self, program: Program) -> Mask:
        """Mark what was launched before the recording, or by a thread that is not in it.

        No launch is known of it, nor of anything before it on its stream.
        """
        linked = program.activities.call[self.order] >= 0
        count = np.append(0, np.cumsum(linked))
        found = np.zeros(len(linked), bool)
        found[self.order] = count[1:] == count[self.bounds[self.of[self.order]]]
        return found

    def threads(self, program: Program) -> Ints:
        """Return ``[n, 2]``: the streams and the threads that launch on each, every pair once."""
        linked = np.flatnonzero(program.activities.call >= 0)
        thread = program.calls.thread[program.activities.call[linked]].astype(np.int64)
        pairs: Ints = np.unique(np.stack((self.of[linked], thread), axis=1), axis=0, return_index=True)[0]
        return pairs

    def of_several_threads(self, program: Program) -> Ints:
        """Return the streams that several threads launch on."""
        stream, count = np.unique(self.threads(program)[:, 0], return_counts=True)
        several: Ints = stream[count > 1]
        return several


def launch_times(activities: Activities, calls: Calls, waiting: Mask) -> Ints:
    """Return when each activity was handed to its device; its own start where no call is known."""
    linked = activities.call >= 0
    if not linked.any():
        return activities.start.copy()
    at = np.where(waiting, calls.start, calls.end)[activities.call]
    return np.where(linked, at, activities.start)


def by_call(activities: Activities) -> Ints:
    """Return the activities whose launch is known, in the order of their calls."""
    launched = np.flatnonzero(activities.call >= 0)
    found: Ints = launched[np.argsort(activities.call[launched], kind="stable")]
    return found


def last_before(program: Program, streams: Streams, stream: int, times: Ints) -> Ints:
    """Return the last activity on a stream that was launched by each time, or -1.

    Where a launch is not known, it was no later than those behind it.
    """
    members = streams.order[streams.bounds[stream] : streams.bounds[stream + 1]]
    launched = streams.launched[members]
    unknown = program.activities.call[members] < 0
    launched = np.where(unknown, np.minimum.accumulate(launched[::-1])[::-1], launched)
    place = np.searchsorted(np.maximum.accumulate(launched), times, "right") - 1
    return np.where(place >= 0, members[place], -1)


def event_links(program: Program, streams: Streams, delays: Seen) -> tuple[Ints, Ints]:
    """Return pairs of activities of which the second, on another stream, waits for the first.

    From the calls that record an event and have a stream wait for it (which stream, most profilers do not say: the one
    of the next launch waits for the others' work), and from activities that begin as soon as something elsewhere ends,
    when nothing else explains why they had not begun before. What contradicts the recorded times is left out.
    """
    told = links_of_calls(program, streams)
    seen = links_of_times(program, streams, delays, told[1])
    first, second = np.concatenate((told[0], seen[0])), np.concatenate((told[1], seen[1]))
    # What is behind a copy on its stream waits as well, if the copy goes elsewhere.
    behind = next_kernel(program, streams)[second]
    first, second = np.concatenate((first, first[behind >= 0])), np.concatenate((second, behind[behind >= 0]))
    activities = program.activities
    possible = (activities.end[first] <= activities.start[second]) & (first != second)
    return first[possible], second[possible]


def next_kernel(program: Program, streams: Streams) -> Ints:
    """Return, for each copy, what is next on its stream and is none, or -1; and -1 for all that are no copies."""
    order = streams.order
    copy = program.activities.category[order] == Category.MEMCPY
    place = np.where(copy, len(order), np.arange(len(order)))
    place = np.minimum.accumulate(place[::-1])[::-1]
    there = copy & (place < streams.bounds[streams.of[order] + 1])
    found = np.full(len(order), -1, np.int64)
    found[order[there]] = order[place[there]]
    return found


def links_of_calls(program: Program, streams: Streams) -> tuple[Ints, Ints]:
    """Return the pairs that calls tell of."""
    calls = program.calls
    none = np.empty(0, np.int64), np.empty(0, np.int64)
    records, waits = np.flatnonzero(program.records_event), np.flatnonzero(program.awaits_event)
    order = by_call(program.activities)
    if not len(records) or not len(waits) or not len(order):
        return none
    found: list[tuple[Ints, Ints]] = [none]
    for process in distinct(calls.process[waits]).tolist():
        recorded = records[calls.process[records] == process]
        waiting = waits[calls.process[waits] == process]
        event = np.searchsorted(recorded, waiting) - 1
        waiting, event = waiting[event >= 0], recorded[event[event >= 0]]
        for device in distinct(program.activities.device[order]).tolist():
            mine = order[program.activities.device[order] == device]
            some = meant(program, order, event, waiting) == device
            second = awaiting(program, streams, mine, event[some], waiting[some])
            event_of, second = event[some][second >= 0], second[second >= 0]
            first = event_source(program, streams, mine, event_of, second)
            event_of, first, second = (values[first >= 0] for values in (event_of, first, second))
            found.append((last_of_stream(program, streams, event_of, first, second), second))
    return np.concatenate([pair[0] for pair in found]), np.concatenate([pair[1] for pair in found])


def meant(program: Program, order: Ints, event: Ints, waiting: Ints) -> Ints:
    """Return the device whose streams record an event and wait for it.

    It is that of the collective which either is for, or else that of the next launch.
    """
    activities = program.activities
    after, before = next_launch(program, order, waiting), last_launch(program, order, event)
    for_collective = (before >= 0) & activities.communicates[before] & ~((after >= 0) & activities.communicates[after])
    found: Ints = activities.device[np.where(for_collective, before, after)].astype(np.int64)
    return found


def awaiting(program: Program, streams: Streams, order: Ints, event: Ints, waiting: Ints) -> Ints:
    """Return what was launched on the streams that wait, or -1: for a collective, streams wait that compute."""
    activities = program.activities
    before, after = last_launch(program, order, event), next_launch(program, order, waiting)
    there = next_launch(program, order[computing(program, streams)[order]], waiting)
    for_collective = (before >= 0) & activities.communicates[before] & ~((after >= 0) & activities.communicates[after])
    return np.where(for_collective, there, after)


def event_source(program: Program, streams: Streams, order: Ints, event: Ints, second: Ints) -> Ints:
    """Return what had last been launched on the stream that records an event which ``second`` waits for, or -1.

    It is another stream than that of ``second``. For a collective, one that computes, where whoever handed over to this
    thread launched if it has not itself.
    """
    calls, on = program.calls, streams.of[second]
    found = last_elsewhere(program, streams, order, event, on, calls.thread)
    kernels = order[computing(program, streams)[order]]
    collective = program.activities.communicates[second]
    for whose in (calls.process, calls.thread):
        there = last_elsewhere(program, streams, kernels, event, on, whose)
        found = np.where(collective & (there >= 0), there, found)
    return found


def computing(program: Program, streams: Streams) -> Mask:
    """Mark the activities on streams that compute."""
    activities = program.activities
    stream = np.zeros(len(streams.bounds), bool)
    stream[streams.of[(activities.category == Category.KERNEL) & ~activities.communicates]] = True
    return stream[streams.of]


def next_launch(program: Program, order: Ints, calls: Ints) -> Ints:
    """Return what the thread of each call launched next, of the activities ``order`` (by call), or -1."""
    return near_launch(program, order, calls, 0)


def last_launch(program: Program, order: Ints, calls: Ints) -> Ints:
    """Return what the thread of each call had last launched, of the activities ``order`` (by call), or -1."""
    return near_launch(program, order, calls, -1)


def near_launch(program: Program, order: Ints, calls: Ints, step: int) -> Ints:
    """Return the launch of the same thread that is next to each call, after it or (``step`` -1) before, or -1."""
    answer = np.full(len(calls), -1, np.int64)
    thread = program.calls.thread[program.activities.call[order]]
    for own in distinct(program.calls.thread[calls]).tolist():
        mine, some = order[thread == own], np.flatnonzero(program.calls.thread[calls] == own)
        place = np.searchsorted(program.activities.call[mine], calls[some]) + step
        there = (place >= 0) & (place < len(mine))
        answer[some[there]] = mine[place[there]]
    return answer


def last_of_stream(program: Program, streams: Streams, event: Ints, first: Ints, second: Ints) -> Ints:
    """Return what was last handed to the streams of ``first`` before an event was recorded, by whatever thread.

    It is ``first`` itself where ``second`` did not wait for that.
    """
    answer = first.copy()
    for stream in distinct(streams.of[first]).tolist():
        some = np.flatnonzero(streams.of[first] == stream)
        last = last_before(program, streams, stream, program.calls.start[event[some]])
        fits = (last >= 0) & (program.activities.end[last] <= program.activities.start[second[some]])
        answer[some[fits]] = last[fits]
    return answer


def last_elsewhere(
    program: Program, streams: Streams, order: Ints, event: Ints, stream: Ints, whose: NDArray[np.int32]
) -> Ints:
    """Return what ``whose`` call (a thread or process) recorded an event last launched elsewhere than on ``stream``."""
    answer = np.full(len(event), -1, np.int64)
    owner = whose[program.activities.call[order]]
    for own in distinct(whose[event]).tolist():
        mine = order[owner == own]
        some = np.flatnonzero(whose[event] == own)
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


def links_of_times(program: Program, streams: Streams, delays: Seen, told: Ints) -> tuple[Ints, Ints]:
    """Return the pairs that only times tell of; ``told`` are activities that calls have wait."""
    activities = program.activities
    if not len(activities.row) or len(streams.bounds) < 3:  # noqa: PLR2004  one stream has nobody to wait for
        return np.empty(0, np.int64), np.empty(0, np.int64)
    before, latency, queue = streams.before, delays.delays(MOSTLY).latency, delays.delays(MEDIAN).queue
    explained = np.where(before >= 0, activities.end[before] + queue, np.iinfo(np.int64).min)
    explained = np.maximum(explained, np.where(activities.call >= 0, streams.launched + latency, explained))
    second = np.flatnonzero((activities.start - NEAR_NS > explained) & (activities.call >= 0))
    by_end = np.argsort(activities.end, kind="stable")
    place = np.searchsorted(activities.end[by_end], activities.start[second], "right") - 1
    second, first = second[place >= 0], by_end[place[place >= 0]]
    fits = (streams.of[first] != streams.of[second]) & (activities.owner[first] == activities.owner[second])
    fits &= (activities.call[first] >= 0) & (activities.call[first] < activities.call[second])
    fits &= activities.start[second] - activities.end[first] <= NEAR_NS
    # A stream waits for another device only if told to since its last launch, if nothing else is known that it was to
    # wait for; for its own, any default stream does.
    since = np.where(before[second] >= 0, activities.call[before[second]], -1)
    elsewhere = (last_told(program, second) > since) & ~np.isin(second, told)
    fits &= (activities.device[first] == activities.device[second]) | elsewhere
    return first[fits], second[fits]


def last_told(program: Program, second: Ints) -> Ints:
    """Return the last call, before activities were launched, by which their thread had a stream wait, or -1.

    The stream is one of their device: that of what the thread launched next.
    """
    activities, thread = program.activities, program.calls.thread
    order = by_call(activities)
    asked = np.flatnonzero(program.awaits_event)
    meant = next_launch(program, order, asked)
    found = np.full(len(second), -1, np.int64)
    for device in distinct(activities.device[second]).tolist():
        of_device = asked[(meant >= 0) & (activities.device[meant] == device)]
        for own in distinct(thread[of_device]).tolist():
            mine = np.append(-1, of_device[thread[of_device] == own])
            some = np.flatnonzero((activities.device[second] == device) & (thread[activities.call[second]] == own))
            found[some] = mine[np.searchsorted(mine, activities.call[second[some]]) - 1]
    return found
