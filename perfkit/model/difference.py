"""The Difference: what changed between two recordings of a program, and whether that can be told at all.

Times are nanoseconds of one unit: a step where both sides have steps, else the whole recording. Where a side has
several runs or devices, they are averaged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.model.diagnosis import Diagnosis
    from perfkit.model.table import Table

__all__ = [
    "Bucket",
    "Cause",
    "Difference",
    "Interval",
    "Obstacle",
    "ObstacleKind",
    "RowChange",
    "Run",
    "Side",
    "StepPair",
]

Verdict = Literal["faster", "slower", "same", "not_comparable"]
Unit = Literal["step", "recording"]
ObstacleKind = Literal["empty", "hardware", "devices", "program", "shapes", "steps", "work", "duration"]
TableName = Literal["kernel", "copy", "operator", "idle"]
ChangeKind = Literal["added", "removed", "slower", "faster", "more_calls", "fewer_calls", "same"]


class Run(NamedTuple):
    """One recording of a side.

    ``shapes`` holds, for each operator, how often it was called with which input shapes; it is empty where the
    recording does not say.
    """

    diagnosis: Diagnosis
    shapes: Mapping[str, Mapping[str, int]] = {}


class Side(NamedTuple):
    """What one side is.

    ``timelines`` counts those of one run, of this ``kind``; ``steps`` counts those of all runs; ``unit_ns``, the sum of
    ``busy_ns`` and ``idle_ns``, is the mean length of a step, or of the recording where there are none.
    """

    paths: tuple[str, ...]
    formats: tuple[str, ...]
    devices: tuple[str, ...]
    kind: Literal["device", "host_thread"]
    timelines: int
    runs: int
    steps: int
    unit_ns: int
    busy_ns: int
    idle_ns: int


class Interval(NamedTuple):
    """Bounds of the change with a confidence of 95 %; ``samples`` are what it was taken from."""

    low_ns: int
    high_ns: int
    samples: Literal["runs", "steps"]


class Obstacle(NamedTuple):
    """Why the two sides are not to be compared."""

    kind: ObstacleKind
    message: str


class Bucket(NamedTuple):
    """One owner of time on both sides; over all buckets ``change_ns`` sums to the change of the unit, exactly.

    ``interval`` bounds its own change, where both sides have several runs.
    """

    name: str
    kind: Literal["busy", "idle"]
    base_ns: int
    head_ns: int
    interval: Interval | None = None

    @property
    def change_ns(self) -> int:
        """How much more the head takes."""
        return self.head_ns - self.base_ns


class RowChange(NamedTuple):
    """A kernel, copy, operator, or host event that idle time is owed to, on both sides.

    ``calls_ns + cost_ns`` is the change: what the other number of calls accounts for at the base's time per call, and
    what the other time per call accounts for. ``bucket`` is the owner of time that it belongs to; operators, whose work
    may lie in several, have none. ``where`` is the head's source line, or the base's where the head has none.
    """

    table: TableName
    kind: ChangeKind
    name: str
    module: str
    where: str
    bucket: str
    base_calls: float
    head_calls: float
    base_ns: int
    head_ns: int
    calls_ns: int
    cost_ns: int

    @property
    def change_ns(self) -> int:
        """How much more the head takes."""
        return self.head_ns - self.base_ns


class StepPair(NamedTuple):
    """Two steps that stand in the same place, with their lengths."""

    base: str
    head: str
    base_ns: int
    head_ns: int


class Cause(NamedTuple):
    """What likely made the change: the bucket that moved most in its direction, and what moved most within that."""

    bucket: Bucket
    row: RowChange | None


class Difference(NamedTuple):
    """A base, a head, and what lies between them.

    Attributes:
        verdict: Whether the head is faster, slower, or the same within noise, or why that cannot be said.
        unit: What times are of.
        base: One side.
        head: The other.
        change_ns: How much more the head takes.
        interval: Bounds of the change; None where one sample a side shows no spread.
        threshold: Part of the base below which a change counts as none.
        obstacles: Why the sides cannot be compared; empty where they can.
        cause: What likely made the change; None where nothing changed.
        buckets: Every owner of time, the largest change first.
        steps: The steps of the first run of each side, aligned.
        rows: Changes of kernels, copies, operators and host events, the largest first.
        work: Calls of the kernels in common, head against base, as a ratio; None where it is not one for nearly all.
        per_call: Time per call of the kernels in common, head against base, as a ratio; None where there are none.
        notes: What else a reader must know.
    """

    verdict: Verdict
    unit: Unit
    base: Side
    head: Side
    change_ns: int
    interval: Interval | None
    threshold: float
    obstacles: tuple[Obstacle, ...]
    cause: Cause | None
    buckets: Table[Bucket]
    steps: Table[StepPair]
    rows: Table[RowChange]
    work: float | None
    per_call: float | None
    notes: tuple[str, ...]
