"""The rank that the others wait for: who it is, in which bucket it loses its time, and whether it is one at all.

A rank is named when what the others waited for it is more than the clocks leave open, is not what each rank is waited
for now and then, and costs enough to matter. The thresholds are these:
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.model import quantity
from perfkit.model.fleet import BEFORE_RECORDING, WAITING, LateArrival, Straggler
from perfkit.model.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from perfkit.compare.roster import Member
    from perfkit.compare.waits import Calls, Meeting, Progress

    Ints = NDArray[np.int64]

__all__ = ["late_arrivals", "name_straggler"]

LEAST_LOSS: Final = 0.005
"""What each other rank waited for the straggler on average is at least this part of the window."""
LEAST_SHARE_OF_EVEN: Final = 2.0
"""Of all waiting, a straggler causes at least so many times what it would if all ranks caused the same."""
LEAST_SHARE_OF_TWO: Final = 0.6
"""Of two ranks, one is a straggler that causes this much of the waiting."""
LEAST_TIMES: Final = 3
"""A rank that comes last less often is late, but no persistent straggler."""
MOST_CALLS: Final = 64
"""Calls looked into for the bucket, those with most waiting."""
MOST_OTHERS: Final = 64
"""Members that a late one is held against, evenly picked."""
MOST_SHOWN: Final = 8
"""Late arrivals listed."""


def name_straggler(
    members: Sequence[Member], meetings: Sequence[Meeting], progress: Sequence[Progress], calls: Calls, window_ns: int
) -> tuple[Straggler | None, str]:
    """Name the straggler and say why, or say why there is none.

    Args:
        members: The members.
        meetings: Their meetings.
        progress: The members' progress.
        calls: The calls of the meetings.
        window_ns: Length of a window, the median over the members.

    Returns:
        The straggler or None, and the sentence to read first.
    """
    caused = caused_by(calls, calls.inside, len(members))
    rank = int(np.argmax(caused)) if len(caused) else -1
    late = np.flatnonzero(calls.inside & calls.significant & (calls.origin == rank) & (calls.last == rank))
    reason = why_nobody(members, calls, caused, rank, window_ns)
    if reason or not len(late):
        return None, reason or "where ranks wait most, none is late by more than the clocks are uncertain"
    worst = int(late[np.argmax(calls.wait[late])])
    longest = late[np.argsort(-calls.wait[late], kind="stable")[:MOST_CALLS]]
    beyond = [excess(members, meetings, progress, calls, call) for call in longest.tolist()]
    spans = [span(meetings, progress[rank], calls, call) for call in longest.tolist()]
    once = disjoint(spans, [delay(times) for times in beyond])
    delays = [delay(beyond[at]) for at in once]
    persistent = len(late) >= LEAST_TIMES and sum(delays) >= 2 * max(delays)
    beyond_all = add([beyond[at] for at in once] if persistent else beyond[:1])
    bucket, bucket_ns = largest(beyond_all)
    found = Straggler(
        rank=members[rank].rank,
        persistent=persistent,
        caused_wait_ns=int(caused[rank]),
        delay_ns=int(calls.late[late].sum()),
        late=len(late),
        calls=sum(int(m.inside.sum()) for m in meetings if rank in m.lane.members),
        bucket=bucket,
        bucket_ns=bucket_ns,
        worst=late_arrival(members, meetings, progress, calls, worst),
        evidence=(),
    )
    found = found._replace(evidence=tuple(evidence(members, rank, found, int(caused.sum()), beyond_all)))
    return found, verdict(found)


def why_nobody(members: Sequence[Member], calls: Calls, caused: Ints, rank: int, window_ns: int) -> str:
    """Say why not even the rank that causes most waiting is a straggler; nothing if it is one."""
    if len(members) < 2:  # noqa: PLR2004  one rank waits for nobody
        return "there is one rank, so nobody to wait for"
    if not calls.inside.any():
        return "no collective was found on several ranks, so nothing tells who waits for whom"
    if not (calls.significant & calls.inside).any():
        return "no rank is late by more than the clocks are uncertain"
    if not worth_it(caused, rank, window_ns):
        each = quantity.duration(int(caused.sum()) / len(members))
        return f"no rank is waited for much: each waits {each} in all, for one rank or another"
    if not uneven(caused, rank):
        share = quantity.percent(int(caused[rank]), int(caused.sum()))
        return f"the waiting is spread over the ranks: rank {members[rank].rank} causes most, but only {share} of it"
    return ""


def delay(beyond: Mapping[str, int]) -> int:
    """Return what a rank spent beyond the others since the call before, waiting aside.

    A rank that was held up once, and is late to several calls until the others catch up with it, has one delay. It is
    held up again and again if as much is left without the longest delay.
    """
    return max(0, sum(ns for bucket, ns in beyond.items() if bucket != WAITING))


def span(meetings: Sequence[Meeting], progress: Progress, calls: Calls, call: int) -> tuple[int, int]:
    """Return the runs of the last to arrive between which the time before a call lies."""
    meeting, column = meetings[int(calls.meeting[call])], int(calls.column[call])
    run = int(meeting.lane.runs[int(meeting.last[column])][column])
    return int(progress.before[run]), run


def disjoint(spans: Sequence[tuple[int, int]], delays: Sequence[int]) -> list[int]:
    """Pick spans that do not overlap, those of the longest delays first: one delay lies in spans of several groups."""
    kept: list[int] = []
    for at in sorted(range(len(spans)), key=lambda at: (-delays[at], spans[at][1] - spans[at][0])):
        low, high = spans[at]
        if all(high <= spans[other][0] or spans[other][1] <= low for other in kept):
            kept.append(at)
    return kept


def caused_by(calls: Calls, some: NDArray[np.bool_], count: int) -> Ints:
    """Return what was waited for each member in some of the calls."""
    caused = np.zeros(count, np.int64)
    np.add.at(caused, calls.origin[some], calls.wait[some])
    return caused


def uneven(caused: Ints, rank: int) -> bool:
    """Tell whether a member causes clearly more waiting than its part."""
    even = float(caused.sum()) / len(caused)
    if len(caused) == 2:  # noqa: PLR2004  twice the even share of two is all of it
        return float(caused[rank]) >= LEAST_SHARE_OF_TWO * float(caused.sum())
    return float(caused[rank]) >= LEAST_SHARE_OF_EVEN * even


def worth_it(caused: Ints, rank: int, window_ns: int) -> bool:
    """Tell whether what each other member waited for one is a part of the window that matters."""
    return float(caused[rank]) > 0 and float(caused[rank]) / (len(caused) - 1) >= LEAST_LOSS * window_ns


def late_arrivals(
    members: Sequence[Member], meetings: Sequence[Meeting], progress: Sequence[Progress], calls: Calls
) -> Table[LateArrival]:
    """Return the calls that waited longest for a rank that was late of its own."""
    late = np.flatnonzero(calls.inside & calls.significant & (calls.origin == calls.last))
    worst = late[np.argsort(-calls.wait[late], kind="stable")[:MOST_SHOWN]].tolist()
    return Table(late_arrival(members, meetings, progress, calls, call) for call in worst)


def late_arrival(
    members: Sequence[Member], meetings: Sequence[Meeting], progress: Sequence[Progress], calls: Calls, call: int
) -> LateArrival:
    """Describe one call and who came last to it."""
    meeting, column, at = meetings[int(calls.meeting[call])], int(calls.column[call]), int(calls.last[call])
    run = int(meeting.lane.runs[int(meeting.last[column])][column])
    bucket, bucket_ns = largest(excess(members, meetings, progress, calls, call))
    return LateArrival(
        rank=members[at].rank,
        kind=meeting.lane.kind,
        group=meeting.lane.group.name,
        call=column,
        at_ns=int(members[at].runs.start_ns[run]),
        late_ns=int(calls.late[call]),
        wait_ns=int(calls.wait[call]),
        bucket=bucket,
        bucket_ns=bucket_ns,
    )


def largest(times: Mapping[str, int]) -> tuple[str, int]:
    """Return the bucket with most time, the first of equals; none if no time is positive."""
    name = max(times, key=lambda bucket: times[bucket], default="")
    return (name, times[name]) if name and times[name] > 0 else ("", 0)


def excess(
    members: Sequence[Member], meetings: Sequence[Meeting], progress: Sequence[Progress], calls: Calls, call: int
) -> dict[str, int]:
    """Return, by bucket, the time that the last to arrive spent beyond the others' median since the call before.

    From one arrival to the next the buckets of a rank make up all its time, so that they can be held against each
    other.
    """
    meeting, column = meetings[int(calls.meeting[call])], int(calls.column[call])
    last = int(meeting.last[column])
    others = [place for place in range(len(meeting.lane.members)) if place != last]
    others = others[:: -(-len(others) // MOST_OTHERS)]
    spent = [time_before(members, progress, meeting, place, column) for place in (last, *others)]
    began = [begin for begin, _ in spent if begin is not None]
    for begin, times in spent:
        if begin is not None:
            times[BEFORE_RECORDING] = begin - min(began)
    return {
        bucket: spent[0][1].get(bucket, 0) - int(np.median([times.get(bucket, 0) for _, times in spent[1:]]))
        for bucket in dict.fromkeys(name for _, times in spent for name in times)
    }


def add(times: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Sum times by bucket."""
    total: dict[str, int] = {}
    for some in times:
        for bucket, ns in some.items():
            total[bucket] = total.get(bucket, 0) + ns
    return total


def time_before(
    members: Sequence[Member], progress: Sequence[Progress], meeting: Meeting, place: int, column: int
) -> tuple[int | None, dict[str, int]]:
    """Return the time of a member by bucket, from its arrival at the call of the group before to that at this one.

    Returns:
        When its recording begins on the fleet's clock, if there was no call before, else None; and the times.
    """
    at = meeting.lane.members[place]
    runs, run = members[at].runs, int(meeting.lane.runs[place][column])
    before = int(progress[at].before[run])
    sums = runs.since_ns[before + 1 : run + 1].sum(axis=0).tolist()
    times = dict(zip(runs.buckets, sums, strict=True))
    exposed = times.get("exposed_communication", 0)
    waited = progress[at].waited
    waiting = min(exposed, int(waited[run] - waited[max(before, 0)]))
    times["exposed_communication"], times[WAITING] = exposed - waiting, waiting
    if before >= 0:
        return None, times
    # The first call: what its rank did before its recording began is not known, only how long that was.
    clock = int(meeting.start[place, column]) - int(runs.start_ns[run])
    return clock + members[at].begin_ns, times


def evidence(
    members: Sequence[Member], rank: int, found: Straggler, total: int, beyond: Mapping[str, int]
) -> list[str]:
    """Write down what speaks for it."""
    share = quantity.percent(found.caused_wait_ns, total)
    calls = quantity.count(found.calls, "collective")
    worst = found.worst
    group = f" of group `{worst.group}`" if worst.group else ""
    sentences = [
        f"rank {found.rank} came last to {found.late:,} of {calls}; the other ranks waited "
        f"{quantity.duration(found.caused_wait_ns)} for it, {share} of all waiting",
        f"call {worst.call} of `{worst.kind}`{group} waited longest: it came {quantity.duration(worst.late_ns)} after "
        f"the last but one, which cost the others {quantity.duration(worst.wait_ns)} together",
    ]
    if found.bucket == BEFORE_RECORDING:
        sentences.append(
            f"its recording begins {quantity.duration(found.bucket_ns)} after the median of the others: "
            "it was late before anything was recorded"
        )
    bucket, ns = largest({name: ns for name, ns in beyond.items() if name != BEFORE_RECORDING})
    if bucket:
        before = "the calls that waited for it" if found.persistent else "that call"
        sentences.append(
            f"before {before} it spent {quantity.duration(ns)} more than the median of the others in `{bucket}`"
        )
    if found.bucket == "compute" and members[rank].compute_calls:
        sentences.append(kernels(members, rank))
    return sentences


def kernels(members: Sequence[Member], rank: int) -> str:
    """Say whether its kernels are more or slower than the others'."""
    others = [member for at, member in enumerate(members) if at != rank]
    calls = int(np.median([member.compute_calls for member in others]))
    mean = int(np.median([member.compute_ns // max(member.compute_calls, 1) for member in others]))
    own = members[rank]
    return (
        f"its kernels: {own.compute_calls:,} of {quantity.duration(own.compute_ns / max(own.compute_calls, 1))} on "
        f"average, those of the others: {calls:,} of {quantity.duration(mean)} (medians)"
    )


def verdict(found: Straggler) -> str:
    """Say in one sentence who is waited for and why."""
    how = f"is late to {found.late:,} of {quantity.count(found.calls, 'collective')}"
    if not found.persistent:
        how = f"arrives late at one `{found.worst.kind}` (call {found.worst.call})"
    why = f", by `{found.bucket}`" if found.bucket else ""
    if found.bucket == BEFORE_RECORDING:
        why = ", and was so when its recording began"
    cost = quantity.duration(found.caused_wait_ns)
    return f"rank {found.rank} {how}{why}: the other ranks wait {cost} for it, summed over them"
