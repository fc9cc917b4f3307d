"""The Fleet: what one rank says from its own trace alone, and what many ranks say together.

Times are integer nanoseconds. Those of a rank are relative to the ``epoch_ns`` of its trace; no record has an absolute
time. Arrays are int64 unless said otherwise, so a summary can be kept as plain numbers and short texts.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from perfkit.model.attribution import Attribution
    from perfkit.model.diagnosis import TraceSummary
    from perfkit.model.picture import Track
    from perfkit.model.table import Table

    Ints = NDArray[np.int64]

__all__ = [
    "BEFORE_RECORDING",
    "COLLECTIVE_KINDS",
    "OTHER_ROW",
    "WAITING",
    "CollectiveRuns",
    "Duplicate",
    "Failure",
    "Fleet",
    "FleetCollective",
    "LateArrival",
    "ProcessGroup",
    "RankClock",
    "RankRow",
    "RankSummary",
    "Straggler",
]

COLLECTIVE_KINDS: Final = (
    "all_reduce",
    "all_gather",
    "reduce_scatter",
    "all_to_all",
    "broadcast",
    "reduce",
    "gather",
    "scatter",
    "barrier",
    "send_recv",
    "send",
    "recv",
    "peer_copy",
    "unknown",
)
"""What a run of a collective can be: ``peer_copy`` is a copy between devices, ``unknown`` a name that does not say."""

WAITING: Final = "waiting_for_ranks"
"""The bucket of exposed communication in which some member had not yet arrived; the rest keeps its busy class."""

BEFORE_RECORDING: Final = "before_recording"
"""The bucket of time before the first activity on a rank's device, from the first one on any member's."""

OTHER_ROW: Final = "(other)"
"""Name of the row into which the smallest rows of a table were summed."""


class ProcessGroup(NamedTuple):
    """A process group as its members' traces name it.

    Attributes:
        name: The profiler's key of it, the same on each member; empty where the trace does not say.
        description: What the program calls it, such as ``default_pg`` or ``mesh_tp``; may be empty.
        size: Number of members, 0 where the trace does not say.
        ranks: The members, ascending; empty where the trace does not say or cut the list short.
    """

    name: str
    description: str = ""
    size: int = 0
    ranks: tuple[int, ...] = ()


class CollectiveRuns(NamedTuple):
    """The runs of collectives on one device of one rank, by start, then end: a column each, n elements long.

    Attributes:
        groups: The process groups that occur.
        buckets: Names of the columns of ``since_ns``: busy classes and idle causes.
        kind: Index into COLLECTIVE_KINDS, int8.
        group: Index into ``groups``, int32.
        bytes: Size of the message as collective benchmarks count it (the larger of a rank's input and output); -1 where
            the trace does not say.
        sequence: The group's own count of the run, -1 where the trace does not say.
        start_ns: When the run began on the device.
        end_ns: When it ended.
        stream: Stream of the device, int32; -1 where the trace does not say.
        exposed_ns: The part of the timeline's exposed communication, within its window, that this run owns: of runs
            that overlap the one begun first. The sum over all runs and ``left_out_exposed_ns`` is the timeline's.
        since_ns: ``[n, len(buckets)]``: the time from the start of the run before (of the first one: from the device's
            first activity) to the start of this one, by bucket; each row sums to that time.
        piece_run: ``[m]``, int32, ascending: the owner of each stretch of exposed communication below.
        piece_start_ns: ``[m]``: where the stretch begins. Stretches are disjoint and ascending, and not limited to the
            window: those of a run that lie in it sum to its ``exposed_ns``.
        piece_end_ns: ``[m]``: where it ends.
        window_start_ns: Start of the timeline's window.
        window_end_ns: End of it.
        left_out: Runs that were not kept since there were too many.
        left_out_exposed_ns: Exposed communication that those own.
    """

    groups: tuple[ProcessGroup, ...]
    buckets: tuple[str, ...]
    kind: NDArray[np.int8]
    group: NDArray[np.int32]
    bytes: Ints
    sequence: Ints
    start_ns: Ints
    end_ns: Ints
    stream: NDArray[np.int32]
    exposed_ns: Ints
    since_ns: Ints
    piece_run: NDArray[np.int32]
    piece_start_ns: Ints
    piece_end_ns: Ints
    window_start_ns: int
    window_end_ns: int
    left_out: int
    left_out_exposed_ns: int

    @property
    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """The columns by name, as `numpy.savez` takes them; the other attributes are plain values."""
        names = ("kind", "group", "bytes", "sequence", "start_ns", "end_ns", "stream", "exposed_ns", "since_ns")
        return {name: getattr(self, name) for name in (*names, "piece_run", "piece_start_ns", "piece_end_ns")}


class RankSummary(NamedTuple):
    """What one rank says, from its own trace alone; small, whatever the size of the trace.

    Attributes:
        trace: The trace it comes from; ``trace.epoch_ns`` turns its times into absolute ones.
        rank: Its rank in the job, or None where neither the trace nor its name says.
        process: Key of the process within the trace; a file can hold several ranks.
        attribution: Where its time goes; of each long table the largest rows, the rest summed into OTHER_ROW.
        collectives: The runs on the device that communicates most; no runs where there are none.
        timeline: Id of that device's timeline in ``attribution``, else of the first one; empty where there is none.
    """

    trace: TraceSummary
    rank: int | None
    process: str
    attribution: Attribution
    collectives: CollectiveRuns
    timeline: str


class RankClock(NamedTuple):
    """How the clock of a rank was brought onto that of the fleet.

    A time of the rank on the fleet's clock is ``start_ns + trace.epoch_ns + applied_ns``.

    Attributes:
        rank: The rank, as in RankRow.
        applied_ns: What was added to its clock.
        measured_ns: What the ends of common collectives say should be added; None where there are none.
        uncertainty_ns: Half the spread (10th to 90th percentile) of what single collectives say; None as above.
        collectives: Common collectives that it was measured from.
        source: ``reference`` (offsets count from this rank), ``collectives`` (measured and applied), ``header`` (as
            the trace has it: the measured offset is within its uncertainty, or nothing was in common), ``none`` (its
            clock has an origin of its own and nothing was in common: its times tell nothing of others).
    """

    rank: int
    applied_ns: int
    measured_ns: int | None
    uncertainty_ns: int | None
    collectives: int
    source: Literal["reference", "collectives", "header", "none"]


class RankRow(NamedTuple):
    """One rank of a fleet.

    ``sum(busy.values()) + sum(idle.values()) == window_ns``. ``exposed_wait_ns + exposed_transfer_ns +
    exposed_unknown_ns`` is the exposed communication of its timeline, exactly.

    Attributes:
        rank: Its rank; where no trace says, its place among the traces given.
        path: Its trace.
        process: Key of its process in the trace.
        timeline: Id of its timeline.
        device_name: Name of its device; may be empty.
        window_ns: Length of its window.
        busy: Time by busy class.
        idle: Time by idle cause.
        exposed_wait_ns: Exposed communication in which a member of the group had not yet arrived.
        exposed_transfer_ns: Exposed communication after all had arrived.
        exposed_unknown_ns: Exposed communication in runs that were not found on the other ranks.
        wait_ns: All waiting for late arrivals, hidden behind computation or not.
        caused_wait_ns: What the other ranks waited for this one, summed over them.
        late: Collectives to which it came last, by more than the clocks are uncertain.
        runs: Its runs of collectives.
        matched: Those found on the other members, too.
        steps: Steps in its window.
    """

    rank: int
    path: str
    process: str
    timeline: str
    device_name: str
    window_ns: int
    busy: Mapping[str, int]
    idle: Mapping[str, int]
    exposed_wait_ns: int
    exposed_transfer_ns: int
    exposed_unknown_ns: int
    wait_ns: int
    caused_wait_ns: int
    late: int
    runs: int
    matched: int
    steps: int


class FleetCollective(NamedTuple):
    """All matched runs of one kind in one process group; a call is one run on each of its members.

    Attributes:
        kind: One of COLLECTIVE_KINDS.
        group: The process group; where the traces do not name it, ``ranks`` has who was found to take part.
        calls: Matched calls.
        ranks: The ranks that take part.
        bytes: Sum over the calls of the size of a message; -1 where some do not say.
        skew_median_ns: Latest minus earliest arrival: the median over calls.
        skew_max_ns: The largest.
        wait_ns: Sum over calls and ranks of the time from arrival to the last arrival.
        transfer_ns: Sum over calls and ranks of the rest.
        bus_bytes_per_s: Bus bandwidth after the last arrival, as nccl-tests defines it; 0.0 where it is not known.
        last_rank: The rank that came last most often.
        last_calls: How often it did.
    """

    kind: str
    group: ProcessGroup
    calls: int
    ranks: tuple[int, ...]
    bytes: int
    skew_median_ns: int
    skew_max_ns: int
    wait_ns: int
    transfer_ns: int
    bus_bytes_per_s: float
    last_rank: int
    last_calls: int


class LateArrival(NamedTuple):
    """One call of a collective that waited for one rank.

    Attributes:
        rank: The rank that came last.
        kind: One of COLLECTIVE_KINDS.
        group: Name or description of the process group; may be empty.
        call: Which call of this kind and group it was, counted from 0 over those matched.
        at_ns: When the rank arrived, relative to the epoch of its own trace.
        late_ns: How much later than the last but one.
        wait_ns: What the others waited for it, summed over them.
        bucket: The busy class, idle cause, WAITING or BEFORE_RECORDING in which it spent most time beyond what the
            others did, since the call of this group before; empty where it spent none.
        bucket_ns: That time beyond the median of the others.
    """

    rank: int
    kind: str
    group: str
    call: int
    at_ns: int
    late_ns: int
    wait_ns: int
    bucket: str
    bucket_ns: int


class Straggler(NamedTuple):
    """The rank that the others waited for.

    Attributes:
        rank: The rank.
        persistent: Whether it is late again and again; False for one late arrival that makes up the most of it.
        caused_wait_ns: What the others waited for it, summed over them.
        delay_ns: What the job lost to it: how much later than the last but one it came, summed over those calls.
        late: Collectives to which it came last.
        calls: Collectives that it took part in.
        bucket: The busy class, idle cause, WAITING or BEFORE_RECORDING in which it spent most time beyond what the
            others did before those calls; empty where it spent none.
        bucket_ns: That time beyond the median of the other members, summed over those calls.
        worst: The call that waited longest for it.
        evidence: Sentences with numbers; names from the trace stand between backticks.
    """

    rank: int
    persistent: bool
    caused_wait_ns: int
    delay_ns: int
    late: int
    calls: int
    bucket: str
    bucket_ns: int
    worst: LateArrival
    evidence: tuple[str, ...]


class Duplicate(NamedTuple):
    """Traces of one rank: the first by path is kept, the others are left out."""

    rank: int
    kept: str
    left_out: tuple[str, ...]


class Failure(NamedTuple):
    """A trace that could not be read, and why in one line; ``rank`` is that of its name, if it has one."""

    path: str
    rank: int | None
    message: str


class Fleet(NamedTuple):
    """What many ranks say together, or many processes that are no ranks of a job, such as the workers of a service.

    Attributes:
        ranks: Each rank, ascending.
        clocks: How their clocks were aligned, in the same order.
        collectives: Collectives by kind and group, most waiting first.
        straggler: The rank that the others waited for, or None.
        verdict: The sentence to read first: who is waited for and why, or why nobody is named.
        late_arrivals: The calls that waited longest for one rank, longest first; a few.
        world_size: Number of ranks in the job, or None where no trace says.
        missing: Ranks of the job, or members of a process group, of which there is no trace.
        duplicates: Ranks of which there is more than one trace.
        failed: Traces that could not be read.
        unmatched: Runs of collectives in the traces that were not found on the other members.
        notes: What else a reader must know before believing the numbers; sentences.
        tracks: The collectives of each rank, in the order of ``ranks``, each on the clock of its own trace; their names
            are indices into COLLECTIVE_KINDS; none unless they were asked for.
        of: What ``ranks`` are. Processes are numbered in order of path, and known by `RankRow.process`.
    """

    ranks: Table[RankRow]
    clocks: Table[RankClock]
    collectives: Table[FleetCollective]
    straggler: Straggler | None
    verdict: str
    late_arrivals: Table[LateArrival]
    world_size: int | None
    missing: tuple[int, ...]
    duplicates: tuple[Duplicate, ...]
    failed: tuple[Failure, ...]
    unmatched: int
    notes: tuple[str, ...]
    tracks: tuple[Track, ...] = ()
    of: Literal["ranks", "processes"] = "ranks"

    def name_of(self, row: RankRow) -> str:
        """Name a row: ``rank 3``, ``process 4711``, or by its file where several have processes of one number."""
        if self.of == "ranks":
            return f"rank {row.rank}"
        alone = sum(other.process == row.process for other in self.ranks) == 1
        return f"process {row.process}" if alone else PurePath(row.path).name
