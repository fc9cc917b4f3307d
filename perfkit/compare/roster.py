"""Who is there: one member for each rank, which ranks are missing, and of which there is more than one trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.model.fleet import Duplicate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from perfkit.model.attribution import Timeline
    from perfkit.model.fleet import CollectiveRuns, RankSummary

    Ints = NDArray[np.int64]

__all__ = ["Member", "Roster", "call_roll"]

LARGEST_JOB: Final = 1 << 20
"""No job has more ranks; a larger world size is a fault of a trace."""
FARTHEST_NS: Final = 2**60
"""Some 36 years: times farther from the first trace's are on a clock that cannot be compared."""


@dataclass(frozen=True, slots=True)
class Member:
    """What is kept of a rank's summary while the ranks are compared.

    ``epoch_ns`` is relative to that of the first member, 0 if that is no time to speak of (``comparable`` is False).
    ``compute_calls`` and ``compute_ns`` are those of its kernels that compute.
    """

    rank: int
    path: str
    process: str
    timeline: Timeline | None
    runs: CollectiveRuns
    epoch_ns: int
    comparable: bool
    compute_calls: int
    compute_ns: int

    @property
    def begin_ns(self) -> int:
        """When the first activity on its device began; meaningless without runs."""
        return int(self.runs.start_ns[0] - self.runs.since_ns[0].sum())


@dataclass(frozen=True, slots=True)
class Roster:
    """The members by rank, and who is not there; ``told`` is whether any trace says its rank, or how many there are."""

    told: bool
    members: tuple[Member, ...]
    world_size: int | None
    missing: tuple[int, ...]
    duplicates: tuple[Duplicate, ...]
    notes: tuple[str, ...]

    @property
    def is_job(self) -> bool:
        """Tell whether they are ranks of a job: one says its rank or their number, or communicates."""
        return self.told or any(len(member.runs.start_ns) for member in self.members)


def call_roll(summaries: Iterable[RankSummary]) -> Roster:
    """Take one summary of each rank, the first by path; ranks that no trace tells are numbered in order of path."""
    known: dict[int, list[tuple[str, str, Member]]] = {}
    nameless: list[tuple[str, str, Member]] = []
    sizes: set[int] = set()
    epoch: int | None = None
    clocks: set[str] = set()
    for summary in summaries:
        epoch = summary.trace.epoch_ns if epoch is None else epoch
        clocks.add(summary.trace.clock)
        if summary.trace.world_size and 0 < summary.trace.world_size <= LARGEST_JOB:
            sizes.add(summary.trace.world_size)
        entry = (summary.trace.path, summary.process, member_of(summary, summary.trace.epoch_ns - epoch))
        if summary.rank is None:
            nameless.append(entry)
        else:
            known.setdefault(summary.rank, []).append(entry)
    notes = []
    told = bool(known or sizes)
    if nameless:
        free = (number for number in range(len(known) + len(nameless)) if number not in known)
        for number, entry in zip(free, nameless, strict=False):
            known[number] = [entry]
        notes.append(f"{len(nameless):,} of the traces do not say their rank: they are numbered in the order given")
    if len(sizes) > 1:
        notes.append(f"the traces disagree on the number of ranks: {', '.join(map(str, sorted(sizes)[:8]))}")
    if len(clocks) > 1:
        notes.append("some traces have clocks of unspecified origin, others that of the day")
    members, duplicates = [], []
    for rank in sorted(known):
        entries = sorted(known[rank], key=lambda entry: entry[:2])
        members.append(entries[0][2] if entries[0][2].rank == rank else numbered(entries[0][2], rank))
        if len(entries) > 1:
            duplicates.append(Duplicate(rank, entries[0][0], tuple(path for path, _, _ in entries[1:])))
    size = max(sizes, default=None)
    return Roster(told, tuple(members), size, missing_ranks(members, size), tuple(duplicates), tuple(notes))


def member_of(summary: RankSummary, epoch_ns: int) -> Member:
    """Keep what the comparison needs of a summary."""
    attribution = summary.attribution
    computing = [kernel for kernel in attribution.kernels if kernel.kind == "compute"]
    comparable = abs(epoch_ns) < FARTHEST_NS
    return Member(
        rank=-1 if summary.rank is None else summary.rank,
        path=summary.trace.path,
        process=summary.process,
        timeline=next((line for line in attribution.timelines if line.id == summary.timeline), None),
        runs=within_reach(summary.collectives),
        epoch_ns=epoch_ns if comparable else 0,
        comparable=comparable,
        compute_calls=sum(kernel.calls for kernel in computing),
        compute_ns=sum(kernel.device_ns for kernel in computing),
    )


def within_reach(runs: CollectiveRuns) -> CollectiveRuns:
    """Leave out the matching of runs whose times cannot be: they become of a kind that is matched with nothing."""
    far = (runs.start_ns <= -FARTHEST_NS) | (runs.end_ns >= FARTHEST_NS) | (runs.end_ns < runs.start_ns)
    return runs._replace(kind=np.where(far, -1, runs.kind).astype(np.int8)) if far.any() else runs


def numbered(member: Member, rank: int) -> Member:
    """Give a member a rank."""
    return Member(rank, *(getattr(member, name) for name in Member.__slots__[1:]))


def missing_ranks(members: Sequence[Member], world_size: int | None) -> tuple[int, ...]:
    """Return the ranks of the job, and the members of process groups, of which there is no trace."""
    wanted = set(range(world_size or 0))
    groups = {group.ranks for member in members for group in member.runs.groups}
    wanted.update(rank for ranks in groups for rank in ranks if rank < LARGEST_JOB)
    return tuple(sorted(wanted - {member.rank for member in members}))
