"""Who waited for whom: every call of a collective, the last to arrive, and what its lateness came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from perfkit.compare.clocks import Clocks
    from perfkit.compare.lanes import Lane
    from perfkit.compare.roster import Member

    Ints = NDArray[np.int64]
    Mask = NDArray[np.bool_]

__all__ = ["Calls", "Meeting", "Progress", "find_meetings", "progress_of", "trace_back"]

MEET_NS: Final = 20_000
"""Ends on different devices are this close, and clocks drift this little, beyond what the clocks are uncertain."""
LEAST_LATE_NS: Final = 1_000
"""A rank that comes less later than the others is not late: some profilers count in microseconds."""


@dataclass(frozen=True, slots=True)
class Meeting:
    """A lane whose calls are known to have met: one row a member, one column a call; times on the fleet's clock, ns.

    Attributes:
        lane: The lane.
        start: When each member arrived.
        end: When its run ended.
        wait: The part of its run before the last arrival.
        last: Position in the lane of the member that came last.
        arrival: When it did.
        late: How much later than the last but one.
        inside: Whether the call lies in the window of some member.
        significant: Whether ``late`` is more than the clocks are uncertain.
    """

    lane: Lane
    start: Ints
    end: Ints
    wait: Ints
    last: Ints
    arrival: Ints
    late: Ints
    inside: Mask
    significant: Mask


@dataclass(frozen=True, slots=True)
class Progress:
    """One member run by run.

    Attributes:
        call: The call of each run, counted over all meetings in their order; -1 where it is not matched.
        before: The run of the same process group before; -1 for the first.
        exposed_wait: Exposed communication before the last arrival, in each run.
        waited: Its sum over the runs before each, one element more than there are runs.
        wait_ns: Exposed waiting within the window.
        transfer_ns: The other exposed communication of matched runs within the window.
    """

    call: Ints
    before: Ints
    exposed_wait: Ints
    waited: Ints
    wait_ns: int
    transfer_ns: int


@dataclass(frozen=True, slots=True)
class Calls:
    """All calls of all meetings, in their order.

    ``origin`` is the member (its position among all) that the call waited for in the end: the last to arrive or, if
    that was held up by waiting in another group, whom it waited for there.
    """

    meeting: Ints
    column: Ints
    last: Ints
    arrival: Ints
    late: Ints
    wait: Ints
    inside: Mask
    significant: Mask
    origin: Ints


def find_meetings(members: Sequence[Member], lanes: Sequence[Lane], clocks: Clocks) -> list[Meeting]:
    """Keep the calls whose members were all there at some moment: no call is over before its last member arrives."""
    meetings = []
    for lane in lanes:
        at = np.array(lane.members)
        shift = clocks.epochs[at][:, None]
        start = np.stack([members[m].runs.start_ns[runs] for m, runs in zip(at, lane.runs, strict=True)]) + shift
        end = np.stack([members[m].runs.end_ns[runs] for m, runs in zip(at, lane.runs, strict=True)]) + shift
        tolerance = MEET_NS + 2 * int(clocks.uncertainty[at].max())
        met = start.max(axis=0) <= end.min(axis=0) + tolerance if start.size else np.empty(0, bool)
        if not met.any():
            continue
        start, end = start[:, met], end[:, met]
        kept = lane.__class__(lane.group, lane.kind, lane.members, tuple(runs[met] for runs in lane.runs))
        order = np.argsort(start, axis=0, kind="stable")[-2:]
        last, before = order[1], order[0]
        arrival = np.take_along_axis(start, last[None], 0)[0]
        late = arrival - np.take_along_axis(start, before[None], 0)[0]
        unsure = clocks.uncertainty[at[last]] + clocks.uncertainty[at[before]]
        low = np.array([members[m].runs.window_start_ns for m in at])[:, None] + shift
        high = np.array([members[m].runs.window_end_ns for m in at])[:, None] + shift
        meetings.append(
            Meeting(
                lane=kept,
                start=start,
                end=end,
                wait=np.clip(arrival - start, 0, end - start),
                last=last,
                arrival=arrival,
                late=late,
                inside=((start < high) & (end > low)).any(axis=0),
                significant=late > np.maximum(unsure, LEAST_LATE_NS),
            )
        )
    return meetings


def progress_of(members: Sequence[Member], meetings: Sequence[Meeting], clocks: Clocks) -> list[Progress]:
    """Follow every member through its runs, and split its exposed communication."""
    call = [np.full(len(member.runs.start_ns), -1, np.int64) for member in members]
    arrival = [np.full(len(member.runs.start_ns), np.iinfo(np.int64).min) for member in members]
    first = 0
    for meeting in meetings:
        numbers = np.arange(first, first + len(meeting.arrival))
        first += len(numbers)
        for at, runs in zip(meeting.lane.members, meeting.lane.runs, strict=True):
            call[at][runs] = numbers
            arrival[at][runs] = meeting.arrival - clocks.epochs[at]
    return [split_exposed(member, call[at], arrival[at]) for at, member in enumerate(members)]


def split_exposed(member: Member, call: Ints, arrival: Ints) -> Progress:
    """Split the exposed communication of a member at the last arrivals, which are on its own clock."""
    runs = member.runs
    start, end = runs.piece_start_ns, runs.piece_end_ns
    owner = runs.piece_run.astype(np.int64)
    window = runs.window_start_ns, runs.window_end_ns
    wait = np.where(call[owner] >= 0, np.clip(arrival[owner], start, end) - start, 0)
    exposed_wait = np.zeros(len(call), np.int64)
    np.add.at(exposed_wait, owner, wait)
    low, high = np.clip(start, *window), np.clip(end, *window)
    matched = call[owner] >= 0
    wait_ns = int((np.clip(arrival[owner], low, high) - low)[matched].sum())
    by_group = np.argsort(runs.group, kind="stable")
    before = np.full(len(call), -1, np.int64)
    same = runs.group[by_group][1:] == runs.group[by_group][:-1]
    before[by_group[1:][same]] = by_group[:-1][same]
    return Progress(
        call=call,
        before=before,
        exposed_wait=exposed_wait,
        waited=np.concatenate(([0], np.cumsum(exposed_wait))),
        wait_ns=wait_ns,
        transfer_ns=int((high - low)[matched].sum()) - wait_ns,
    )


def trace_back(meetings: Sequence[Meeting], progress: Sequence[Progress]) -> Calls:
    """Find whom each call waited for in the end.

    The last to arrive was itself held up if, since the call of this group before, it waited longer in other groups than
    the other members (their median) by at least half of what it is later than they.
    """
    if not meetings:
        none = np.empty(0, np.int64)
        return Calls(none, none, none, none, none, none, none > 0, none > 0, none)
    sizes = [len(meeting.arrival) for meeting in meetings]
    last = np.concatenate([np.array(meeting.lane.members)[meeting.last] for meeting in meetings])
    held_up = np.concatenate([was_held_up(meeting, progress) for meeting in meetings])
    run = np.concatenate([np.stack(m.lane.runs)[m.last, np.arange(len(m.last))] for m in meetings])
    arrival = np.concatenate([meeting.arrival for meeting in meetings])
    origin = last.copy()
    order = np.flatnonzero(held_up)
    for call in order[np.argsort(arrival[order], kind="stable")].tolist():
        own = progress[last[call]]
        low, high = int(own.before[run[call]]) + 1, int(run[call])
        longest = low + int(np.argmax(own.exposed_wait[low:high]))
        if own.call[longest] >= 0:
            origin[call] = origin[own.call[longest]]
    return Calls(
        meeting=np.repeat(np.arange(len(meetings)), sizes),
        column=np.concatenate([np.arange(size) for size in sizes]),
        last=last,
        arrival=arrival,
        late=np.concatenate([meeting.late for meeting in meetings]),
        wait=np.concatenate([meeting.wait.sum(axis=0) for meeting in meetings]),
        inside=np.concatenate([meeting.inside for meeting in meetings]),
        significant=np.concatenate([meeting.significant for meeting in meetings]),
        origin=origin,
    )


def was_held_up(meeting: Meeting, progress: Sequence[Progress]) -> Mask:
    """Tell of each call whether the last to arrive was held up in other groups."""
    waited = np.stack(
        [
            progress[at].waited[runs] - progress[at].waited[progress[at].before[runs] + 1]
            for at, runs in zip(meeting.lane.members, meeting.lane.runs, strict=True)
        ]
    )
    own = np.take_along_axis(waited, meeting.last[None], 0)[0]
    middle = (len(waited) - 2) // 2  # of the others in order; the last comes after them all
    np.put_along_axis(waited, meeting.last[None], np.iinfo(np.int64).max, 0)
    more = own - np.sort(waited, axis=0)[middle]
    later = meeting.arrival - np.sort(meeting.start, axis=0)[middle]
    held_up: Mask = (more > 0) & (2 * more >= later) & meeting.significant
    return held_up
