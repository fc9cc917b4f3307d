"""Kernels, copies, operators and host events of two sides, matched, with what changed of each."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, Final, NamedTuple

from perfkit.compare.units import timelines, units
from perfkit.model.difference import RowChange
from perfkit.model.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from perfkit.model.attribution import Attribution
    from perfkit.model.difference import ChangeKind, Run, TableName

__all__ = ["Row", "changes", "tabulate"]

SAME_CALLS: Final = 0.005
"""Part by which calls may differ and still count as equally many."""
SAME_COST: Final = 0.02
"""Part by which a row's time may differ and still count as the same."""

BUCKET_OF_KIND: Final = {"communication": "exposed_communication"}


class Row(NamedTuple):
    """One row of one side in one unit: a mean over steps, devices and runs."""

    table: TableName
    name: str
    module: str
    where: str
    bucket: str
    calls: Fraction
    ns: Fraction


def tabulate(runs: Sequence[Run]) -> list[Row]:
    """Return the rows of a side, each once."""
    sums: dict[tuple[TableName, str, str, str, str], tuple[Fraction, Fraction]] = {}
    for run in runs:
        weight = Fraction(1, units(run.diagnosis.attribution) * len(runs))
        for key, calls, ns in _rows(run.diagnosis.attribution):
            known = sums.get(key, (Fraction(), Fraction()))
            sums[key] = known[0] + calls * weight, known[1] + ns * weight
    return [Row(*key, calls, ns) for key, (calls, ns) in sums.items()]


def _rows(attribution: Attribution) -> Iterable[tuple[tuple[TableName, str, str, str, str], int, int]]:
    """Yield what the tables hold: table, name, module, line and bucket; calls; time."""
    for kernel in attribution.kernels:
        bucket = BUCKET_OF_KIND.get(kernel.kind, "compute")
        yield ("kernel", kernel.name, "", "", bucket), kernel.calls, kernel.device_ns
    for copy in attribution.copies:
        yield ("copy", copy.kind, "", "", "exposed_copy"), copy.calls, copy.device_ns
    on_host = not any(line.kind == "device" for line in timelines(attribution))
    for operator in attribution.operators:
        ns = operator.host_ns if on_host else operator.device_ns
        bucket = "compute" if on_host else ""
        yield ("operator", operator.name, operator.module, operator.where, bucket), operator.calls, ns
    for blame in attribution.blame:
        yield ("idle", blame.event, "", blame.where, blame.cause), blame.gaps, blame.ns


def changes(base: Sequence[Row], head: Sequence[Row]) -> Table[RowChange]:
    """Match the rows of two sides and say what changed of each, the largest change first.

    Rows are the same that agree in all; then those that agree in all but the number of the line or step and the folder
    of the file, which an edit or another schedule changes; and where one side's recording has no modules or lines at
    all, those of one name.
    """
    keys: list[Callable[[Row], Hashable]] = [lambda row: row[:5], _without_line]
    for field in ("module", "where"):
        if not all(any(getattr(row, field) for row in rows if row.table == "operator") for rows in (base, head)):
            keys.append(lambda row: (row.table, row.name, row.bucket))
            break
    found: list[tuple[list[Row], list[Row]]] = []
    left = [list(base), list(head)]
    for key in keys:
        groups: dict[Hashable, tuple[list[Row], list[Row]]] = {}
        for at, rows in enumerate(left):
            for row in rows:
                groups.setdefault(key(row), ([], []))[at].append(row)
        found.extend(group for group in groups.values() if all(group))
        left = [[row for group in groups.values() if not all(group) for row in group[at]] for at in range(2)]
    found.extend(([row], []) for row in left[0])
    found.extend(([], [row]) for row in left[1])
    changed = (_change(*pair) for pair in found)
    return Table(sorted((row for row in changed if row.base_ns or row.head_ns), key=lambda row: -abs(row.change_ns)))


def _without_line(row: Row) -> Hashable:
    """Return what of a row stays as it is when lines are added above it, its folder or its step has another name."""
    file = row.where.replace("\\", "/").rpartition("/")[2]
    return (row.table, re.sub(r"#\d+$", "", row.name), row.module, re.sub(r"\(\d+\)", "", file), row.bucket)


def _change(base: Sequence[Row], head: Sequence[Row]) -> RowChange:
    """Say what changed of rows that are the same thing."""
    shown = (head or base)[0]
    base_calls, base_time = _total(base)
    head_calls, head_time = _total(head)
    base_ns, head_ns = round(base_time), round(head_time)
    # A row that is on one side only differs by its calls.
    per_call = base_time / base_calls if base_calls else head_time / head_calls if head_calls else Fraction()
    calls_ns = round((head_calls - base_calls) * per_call) if base and head else head_ns - base_ns
    cost_ns = head_ns - base_ns - calls_ns
    return RowChange(
        table=shown.table,
        kind=_kind((base_calls, base_ns), (head_calls, head_ns), calls_ns, cost_ns),
        name=shown.name,
        module=shown.module or next((row.module for row in base if row.module), ""),
        where=shown.where or next((row.where for row in base if row.where), ""),
        bucket=shown.bucket,
        base_calls=float(base_calls),
        head_calls=float(head_calls),
        base_ns=base_ns,
        head_ns=head_ns,
        calls_ns=calls_ns,
        cost_ns=cost_ns,
    )


def _total(rows: Sequence[Row]) -> tuple[Fraction, Fraction]:
    """Return calls and time of all rows."""
    return sum((row.calls for row in rows), Fraction()), sum((row.ns for row in rows), Fraction())


def _kind(base: tuple[Fraction, int], head: tuple[Fraction, int], calls_ns: int, cost_ns: int) -> ChangeKind:
    """Name what changed most, given calls and time of both sides."""
    if not any(base):
        return "added"
    if not any(head):
        return "removed"
    if abs(head[0] - base[0]) > SAME_CALLS * base[0] and abs(calls_ns) >= abs(cost_ns):
        return "more_calls" if head[0] > base[0] else "fewer_calls"
    if abs(cost_ns) > SAME_COST * max(base[1], head[1]):
        return "slower" if cost_ns > 0 else "faster"
    return "same"
