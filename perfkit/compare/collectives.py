"""The table of collectives: skew of arrival, waiting, transfer and bandwidth, by kind and process group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from perfkit.model.fleet import FleetCollective
from perfkit.model.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.compare.roster import Member
    from perfkit.compare.waits import Meeting

__all__ = ["bus_factor", "collective_table"]


def bus_factor(kind: str, ranks: int) -> float:
    """Return what the bytes over the time of a collective are multiplied by to give its bus bandwidth.

    As nccl-tests defines it (doc/PERFORMANCE.md there): the traffic that each rank's link must carry whatever the
    algorithm, so that the figure can be held against the hardware's. Sizes are those of the larger of input and output.
    """
    if ranks < 2:  # noqa: PLR2004  nothing goes over a link
        return 0.0
    if kind == "all_reduce":
        return 2 * (ranks - 1) / ranks
    if kind in ("all_gather", "reduce_scatter", "all_to_all", "gather", "scatter"):
        return (ranks - 1) / ranks
    return 1.0 if kind in ("broadcast", "reduce", "send_recv") else 0.0


def collective_table(members: Sequence[Member], meetings: Sequence[Meeting]) -> Table[FleetCollective]:
    """Sum the meetings within the windows, one row each, most waiting first."""
    rows = [row_of(members, meeting) for meeting in meetings if meeting.inside.any()]
    return Table(sorted(rows, key=lambda row: -row.wait_ns))


def row_of(members: Sequence[Member], meeting: Meeting) -> FleetCollective:
    """Make the row of one kind in one group."""
    lane, inside = meeting.lane, meeting.inside
    start, end = meeting.start[:, inside], meeting.end[:, inside]
    wait = int(meeting.wait[:, inside].sum())
    skew = start.max(axis=0) - start.min(axis=0)
    size = np.stack([members[at].runs.bytes[runs[inside]] for at, runs in zip(lane.members, lane.runs, strict=True)])
    known = bool((size >= 0).all())
    moving = int(np.maximum(end.max(axis=0) - meeting.arrival[inside], 0).sum())
    moved = int(size.max(axis=0).sum()) if known else -1
    ranks = lane.group.size or len(lane.members)
    came_last = np.bincount(meeting.last[inside & meeting.significant], minlength=len(lane.members))
    most = int(np.argmax(came_last))
    return FleetCollective(
        kind=lane.kind,
        group=lane.group,
        calls=int(inside.sum()),
        ranks=tuple(members[at].rank for at in lane.members),
        bytes=moved,
        skew_median_ns=int(np.median(skew)),
        skew_max_ns=int(skew.max()),
        wait_ns=wait,
        transfer_ns=int((end - start).sum()) - wait,
        bus_bytes_per_s=moved * bus_factor(lane.kind, ranks) * 1e9 / moving if known and moving else 0.0,
        last_rank=members[lane.members[most]].rank,
        last_calls=int(came_last[most]),
    )
