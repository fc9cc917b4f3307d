"""Comparison: what ranks say together that none of them can say alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from perfkit.compare.clocks import align
from perfkit.compare.collectives import collective_table
from perfkit.compare.lanes import find_lanes, match, split_unnamed
from perfkit.compare.picture import tracks
from perfkit.compare.roster import call_roll
from perfkit.compare.straggler import late_arrivals, name_straggler
from perfkit.compare.waits import find_meetings, progress_of, trace_back
from perfkit.model import quantity
from perfkit.model.fleet import Fleet, RankRow
from perfkit.model.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from perfkit.compare.roster import Member, Roster
    from perfkit.compare.waits import Calls, Meeting, Progress
    from perfkit.model.fleet import Failure, RankSummary

__all__ = ["compare"]


def compare(summaries: Iterable[RankSummary], *, failed: Sequence[Failure] = (), picture: bool = False) -> Fleet:
    """Compare ranks from their summaries.

    Args:
        summaries: One for each rank, in any order; taken one at a time, and only the tables of collectives are kept.
        failed: Traces that could not be read, passed on.
        picture: Also make the tracks of a picture.

    Returns:
        The fleet; without any summary, one without ranks.
    """
    roster = call_roll(summaries)
    members = roster.members
    header = np.array([member.epoch_ns for member in members], np.int64)
    lanes = [part for lane in find_lanes(members) for part in split_unnamed(lane, members, header)]
    matched = [match(lane, members, header, sure=False) for lane in lanes]
    if len(lanes) > 1:
        # What most lanes agree on corrects the one that was off by a step.
        clocks = align(members, matched)
        measured = header + np.array([clock.measured_ns or 0 for clock in clocks.table], np.int64)
        matched = [match(lane, members, measured, sure=True) for lane in lanes]
    clocks = align(members, matched)
    meetings = find_meetings(members, matched, clocks)
    progress = progress_of(members, meetings, clocks)
    calls = trace_back(meetings, progress)
    rows = [row_of(at, member, progress[at], meetings, calls) for at, member in enumerate(members)]
    window_ns = int(np.median([row.window_ns for row in rows])) if rows else 0
    straggler, verdict = name_straggler(members, meetings, progress, calls, window_ns)
    unmatched = sum(row.runs - row.matched for row in rows)
    if not roster.is_job:
        straggler, verdict = None, ""
    return Fleet(
        ranks=Table(rows),
        clocks=clocks.table,
        collectives=collective_table(members, meetings),
        straggler=straggler,
        verdict=verdict,
        late_arrivals=late_arrivals(members, meetings, progress, calls),
        world_size=roster.world_size,
        missing=roster.missing,
        duplicates=roster.duplicates,
        failed=tuple(failed),
        unmatched=unmatched,
        notes=(*roster.notes, *clocks.notes, *notes(roster, rows, unmatched)) if roster.is_job else (),
        tracks=tracks(members, meetings, clocks) if picture and roster.is_job else (),
        of="ranks" if roster.is_job else "processes",
    )


def row_of(at: int, member: Member, progress: Progress, meetings: Sequence[Meeting], calls: Calls) -> RankRow:
    """Make the row of one rank."""
    line = member.timeline
    exposed = line.busy.get("exposed_communication", 0) if line else 0
    own = calls.inside & (calls.origin == at)
    waited = [
        int(meeting.wait[meeting.lane.members.index(at), meeting.inside].sum())
        for meeting in meetings
        if at in meeting.lane.members
    ]
    return RankRow(
        rank=member.rank,
        path=member.path,
        process=member.process,
        timeline=line.id if line else "",
        device_name=line.device_name if line else "",
        window_ns=line.window_ns if line else 0,
        busy=line.busy if line else {},
        idle=line.idle if line else {},
        exposed_wait_ns=progress.wait_ns,
        exposed_transfer_ns=progress.transfer_ns,
        exposed_unknown_ns=exposed - progress.wait_ns - progress.transfer_ns,
        wait_ns=sum(waited),
        caused_wait_ns=int(calls.wait[own].sum()),
        late=int((own & calls.significant & (calls.last == at)).sum()),
        runs=len(progress.call) + member.runs.left_out,
        matched=int((progress.call >= 0).sum()),
        steps=len(line.steps) if line else 0,
    )


def notes(roster: Roster, rows: Sequence[RankRow], unmatched: int) -> list[str]:
    """Say what else a reader must know."""
    found = []
    if unmatched:
        runs = sum(row.runs for row in rows)
        found.append(
            f"{unmatched:,} of {quantity.count(runs, 'run')} of collectives were not found on all members of their "
            "group: their exposed communication is not split into waiting and transfer"
        )
    left_out = sum(member.runs.left_out for member in roster.members)
    if left_out:
        found.append(f"{left_out:,} runs of collectives were too many to keep and were left out")
    unnamed = any(not group.name and not group.ranks for member in roster.members for group in member.runs.groups)
    if unnamed and len(rows) > 1:
        found.append(
            "some traces do not name the process groups: ranks whose collectives on one stream end together are taken "
            "to be of one group"
        )
    return found
