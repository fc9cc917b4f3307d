"""The collectives of each rank as a row of a timeline: what it waited for the others, and what it moved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.model.picture import KINDS, Track

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from perfkit.compare.clocks import Clocks
    from perfkit.compare.roster import Member
    from perfkit.compare.waits import Meeting

    Ints = NDArray[np.int64]

__all__ = ["tracks"]

WAITS: Final = KINDS.index("waiting_for_ranks")
MOVES: Final = KINDS.index("communication")


def tracks(members: Sequence[Member], meetings: Sequence[Meeting], clocks: Clocks) -> tuple[Track, ...]:
    """Return a track for each member, on the clock of its own trace; names are indices into COLLECTIVE_KINDS."""
    arrivals = [member.runs.start_ns.copy() for member in members]
    for meeting in meetings:
        for at, runs in zip(meeting.lane.members, meeting.lane.runs, strict=True):
            arrivals[at][runs] = meeting.arrival - clocks.epochs[at]
    return tuple(track(member, arrival) for member, arrival in zip(members, arrivals, strict=True))


def track(member: Member, arrival: Ints) -> Track:
    """Return the runs of a member, each cut at the last arrival; each stream has a level."""
    runs = member.runs
    cut = np.clip(arrival, runs.start_ns, runs.end_ns)
    _, stream = np.unique(runs.stream, return_inverse=True)
    start, end = np.concatenate((runs.start_ns, cut)), np.concatenate((cut, runs.end_ns))
    level, name = (np.tile(column.astype(np.int64), 2) for column in (stream, runs.kind))
    kind = np.repeat([WAITS, MOVES], len(cut))
    some = np.flatnonzero(end > start)
    order = some[np.lexsort((start[some], level[some]))]
    line = f"rank{member.rank}:{member.timeline.id}" if member.timeline else ""
    ones = np.ones(len(order), np.int64)
    return Track(
        role="rank",
        timeline=line,
        group="collectives of each rank",
        label=f"rank {member.rank}",
        start=start[order],
        end=end[order],
        level=level[order],
        kind=kind[order],
        name=name[order],
        merged=ones,
        row=-ones,
    )
