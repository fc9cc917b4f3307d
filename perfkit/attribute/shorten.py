"""Long tables cut to their largest rows, the rest summed into one row, so that sums still hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from perfkit.model.attribution import Blocked, Collective, Copy, Kernel, Operator, Step
from perfkit.model.fleet import OTHER_ROW
from perfkit.model.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from perfkit.model.attribution import Attribution, Timeline

__all__ = ["shorten"]

MOST_ROWS: Final = 50
"""Rows kept of a table of names."""
MOST_STEPS: Final = 1_000
"""Steps kept of a timeline."""
MOST_TEXT: Final = 500
"""Characters kept of a name: kernels made from templates have names of many thousands."""

Record = TypeVar("Record", bound=NamedTuple)


def shorten(attribution: Attribution) -> Attribution:
    """Cut the tables of an attribution. The other steps of a timeline become one that spans them."""
    return attribution._replace(
        timelines=Table(map(fewer_steps, attribution.timelines)),
        blame=Table(map(shorter_text, attribution.blame)),
        blocked=cut(attribution.blocked, other_blocked, lambda row: row.cause),
        operators=cut(attribution.operators, other_operator, lambda _: ""),
        kernels=cut(attribution.kernels, other_kernel, lambda row: row.kind),
        copies=cut(attribution.copies, other_copy, lambda _: ""),
        collectives=cut(attribution.collectives, other_collective, lambda _: ""),
    )


def shorter_text(row: Record) -> Record:
    """Cut the texts of a record."""
    long = {
        name: f"{value[: MOST_TEXT - 3]}..."
        for name, value in row._asdict().items()
        if isinstance(value, str) and len(value) > MOST_TEXT
    }
    return row._replace(**long) if long else row


def cut(
    table: Table[Record], other: Callable[[Sequence[Record]], Record], key: Callable[[Record], str]
) -> Table[Record]:
    """Keep the first rows; the others become one row for each value of a key."""
    kept, rest = table[:MOST_ROWS], table[MOST_ROWS:]
    groups: dict[str, list[Record]] = {}
    for row in rest:
        groups.setdefault(key(row), []).append(row)
    return Table([*map(shorter_text, kept), *map(other, groups.values())])


def other_blocked(rows: Sequence[Blocked]) -> Blocked:
    """Sum threads that were held up by one cause."""
    ns, calls = sum(row.ns for row in rows), sum(row.calls for row in rows)
    return Blocked(OTHER_ROW, rows[0].cause, ns, calls, max(row.window_ns for row in rows))


def other_operator(rows: Sequence[Operator]) -> Operator:
    """Sum operators."""
    sums = {name: sum(getattr(row, name) for row in rows) for name in ("calls", "device_ns", "host_ns", "launches")}
    return Operator(OTHER_ROW, "", "", **sums)


def other_kernel(rows: Sequence[Kernel]) -> Kernel:
    """Sum kernels of one kind."""
    calls, device_ns = sum(row.calls for row in rows), sum(row.device_ns for row in rows)
    longest, moved = max(row.max_ns for row in rows), sum(row.bytes for row in rows)
    return Kernel(OTHER_ROW, rows[0].kind, calls, device_ns, device_ns // max(calls, 1), longest, moved, "")


def other_copy(rows: Sequence[Copy]) -> Copy:
    """Sum copies."""
    device_ns, moved = sum(row.device_ns for row in rows), sum(row.bytes for row in rows)
    rate = moved * 1e9 / device_ns if device_ns else 0.0
    return Copy(OTHER_ROW, sum(row.calls for row in rows), device_ns, moved, rate)


def other_collective(rows: Sequence[Collective]) -> Collective:
    """Sum collectives."""
    sums = [sum(getattr(row, name) for row in rows) for name in ("calls", "device_ns", "bytes")]
    return Collective(OTHER_ROW, *sums)


def fewer_steps(line: Timeline) -> Timeline:
    """Keep the first steps; those after them become one."""
    kept, rest = line.steps[:MOST_STEPS], line.steps[MOST_STEPS:]
    steps = [shorter_text(step) for step in kept]
    if rest:
        busy, idle = add(step.busy for step in rest), add(step.idle for step in rest)
        steps.append(Step(OTHER_ROW, rest[0].start_ns, rest[-1].end_ns, busy, idle))
    return shorter_text(line)._replace(steps=Table(steps))


def add(times: Iterable[Mapping[str, int]]) -> Mapping[str, int]:
    """Sum times by name."""
    total: dict[str, int] = {}
    for some in times:
        for name, ns in some.items():
            total[name] = total.get(name, 0) + ns
    return total
