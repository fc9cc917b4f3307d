"""The attributions of many ranks as one: each rank's timelines on one clock, everything else summed by what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from perfkit.attribute.shorten import add_copies, add_kernels, add_rows, shorten_threads
from perfkit.model.attribution import Attribution, Window
from perfkit.model.table import Table
from perfkit.model.trace import Defect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from perfkit.model.attribution import Timeline

__all__ = ["Part", "merge", "merge_defects"]

Record = TypeVar("Record", bound=NamedTuple)


class Part(NamedTuple):
    """The attribution of one rank, or of a process that is none, by name.

    ``shift_ns`` is what to add to its times to have them on the clock of all.
    """

    rank: int | None
    name: str
    attribution: Attribution
    shift_ns: int


def merge(parts: Sequence[Part]) -> Attribution:
    """Merge the attributions of ranks.

    Args:
        parts: One for each rank, in the order in which their timelines shall stand.

    Returns:
        The timelines of all, their ids and the names of threads with the name before them; tables of operators,
        kernels, copies and collectives are summed over the ranks, largest first. The window is the first rank's.
    """
    all_of = [part.attribution for part in parts]
    return Attribution(
        window=all_of[0].window if all_of else Window("device-span", "none", ()),
        timelines=Table(_timeline(line, part) for part in parts for line in part.attribution.timelines),
        blame=Table(row._replace(timeline=_id(part, row.timeline)) for part in parts for row in part.attribution.blame),
        blocked=shorten_threads(
            sorted(
                (row._replace(thread=_thread(part, row.thread)) for part in parts for row in part.attribution.blocked),
                key=lambda row: -row.ns,
            )
        ),
        operators=_summed((a.operators for a in all_of), lambda row: (row.name, row.module, row.where), add_rows),
        kernels=_summed((a.kernels for a in all_of), lambda row: (row.name, row.kind, row.provenance), add_kernels),
        copies=_summed((a.copies for a in all_of), lambda row: row.kind, add_copies),
        collectives=_summed((a.collectives for a in all_of), lambda row: row.name, add_rows),
        launches=Table(
            row._replace(timeline=_id(part, row.timeline)) for part in parts for row in part.attribution.launches
        ),
        defects=merge_defects(defect for a in all_of for defect in a.defects),
    )


def merge_defects(defects: Iterable[Defect]) -> tuple[Defect, ...]:
    """Sum defects of one kind, in the words of the most frequent one; each has its words if they are the same."""
    found: dict[str, list[Defect]] = {}
    for defect in defects:
        found.setdefault(defect.kind, []).append(defect)
    return tuple(some[0] if len(some) == 1 else _together(some) for some in found.values())


def _together(some: Sequence[Defect]) -> Defect:
    worst = max(some, key=lambda defect: defect.count)
    same = all(defect.message == worst.message for defect in some)
    message = worst.message if same else f"in {len(some):,} traces, most in the one in which {worst.message}"
    return Defect(worst.kind, sum(defect.count for defect in some), -1, message)


def _timeline(line: Timeline, part: Part) -> Timeline:
    shift = part.shift_ns
    steps = (step._replace(start_ns=step.start_ns + shift, end_ns=step.end_ns + shift) for step in line.steps)
    return line._replace(
        id=_id(part, line.id),
        rank=part.rank,
        start_ns=line.start_ns + shift,
        end_ns=line.end_ns + shift,
        steps=Table(steps),
    )


def _id(part: Part, timeline: str) -> str:
    told = part.rank is None and timeline.startswith(f"{part.name.removeprefix('process ')}/")
    return timeline if told or not timeline else f"{part.name.replace(' ', '')}:{timeline}"


def _thread(part: Part, thread: str) -> str:
    return f"{part.name}, {thread}"


def _summed(
    tables: Iterable[Iterable[Record]], key: Callable[[Record], object], add: Callable[[Sequence[Record]], Record]
) -> Table[Record]:
    """Sum the rows of one key over all tables, those with most device time first."""
    groups: dict[object, list[Record]] = {}
    for table in tables:
        for row in table:
            groups.setdefault(key(row), []).append(row)
    rows = [some[0] if len(some) == 1 else add(some) for some in groups.values()]
    return Table(sorted(rows, key=lambda row: (-row.device_ns, -getattr(row, "host_ns", 0))))  # type: ignore[attr-defined]
