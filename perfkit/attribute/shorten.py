"""Long tables cut to their largest rows, the rest summed into one row, so that sums still hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from perfkit.model.attribution import Blocked, Step
from perfkit.model.fleet import OTHER_ROW
from perfkit.model.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from perfkit.model.attribution import Attribution, Copy, Kernel, Timeline

__all__ = ["add_copies", "add_kernels", "add_rows", "shorten", "shorten_threads"]

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
        blocked=shorten_threads(attribution.blocked),
        operators=cut(
            attribution.operators,
            lambda rows: add_rows(rows)._replace(name=OTHER_ROW, module="", where=""),
            lambda _: "",
        ),
        kernels=cut(
            attribution.kernels,
            lambda rows: add_kernels(rows)._replace(name=OTHER_ROW, provenance=""),
            lambda row: row.kind,
        ),
        copies=cut(attribution.copies, lambda rows: add_copies(rows)._replace(kind=OTHER_ROW), lambda _: ""),
        collectives=cut(attribution.collectives, lambda rows: add_rows(rows)._replace(name=OTHER_ROW), lambda _: ""),
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


def shorten_threads(rows: Sequence[Blocked]) -> Table[Blocked]:
    """Cut a table of threads that were held up."""
    return cut(Table(rows), other_blocked, lambda row: row.cause)


def other_blocked(rows: Sequence[Blocked]) -> Blocked:
    """Sum threads that were held up by one cause."""
    ns, calls = sum(row.ns for row in rows), sum(row.calls for row in rows)
    return Blocked(OTHER_ROW, rows[0].cause, ns, calls, max(row.window_ns for row in rows))


def add_rows(rows: Sequence[Record]) -> Record:
    """Sum the numbers of rows; the texts are the first one's."""
    numbers = [name for name, value in rows[0]._asdict().items() if isinstance(value, int)]
    return rows[0]._replace(**{name: sum(getattr(row, name) for row in rows) for name in numbers})


def add_kernels(rows: Sequence[Kernel]) -> Kernel:
    """Sum kernels."""
    total = add_rows(rows)
    return total._replace(mean_ns=total.device_ns // max(total.calls, 1), max_ns=max(row.max_ns for row in rows))


def add_copies(rows: Sequence[Copy]) -> Copy:
    """Sum copies."""
    total = add_rows(rows)
    return total._replace(bytes_per_s=total.bytes * 1e9 / total.device_ns if total.device_ns else 0.0)


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
