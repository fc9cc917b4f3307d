"""How alike what ran on two sides is: whether it is one program, and how much of it ran."""

from __future__ import annotations

from itertools import accumulate, compress
from typing import TYPE_CHECKING, Final, NamedTuple

from perfkit.model.quantity import percent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from perfkit.compare.rows import Row

__all__ = ["Likeness", "compare_calls", "other_program"]

IN_STEP: Final = 0.1
"""How far the calls of a kernel may be from the ratio of the others, and still go with them."""
IN_TIME: Final = 0.03
"""The same for the time of its calls."""
SEVERAL: Final = 4
"""Kernels that it takes to speak of all."""
MOST: Final = 0.8
"""Part of the time whose kernels must go with the ratio."""
ONE_PROGRAM: Final = 0.5
"""Part of all names of kernels, or of operators, that two recordings of one program have in common, be it changed."""
LIKELY_ONE: Final = 0.3
"""The same where they also have some time in common; for kernels, whose names say more, this part of the time alone."""
SOME_TIME: Final = 0.1
"""Part of the time in operators, or in modules and lines, of the same names."""
NO_TIME: Final = 0.01
"""Part of the time in modules and lines of the same names below which they have none in common."""


class Likeness(NamedTuple):
    """How what ran on both sides compares, head against base.

    ``work`` is the ratio of calls where nearly all go with it, else None; ``per_call`` that of the time of a call, and
    ``even`` tells whether nearly all go with that one.
    """

    work: float | None
    per_call: float | None
    even: bool = False


def compare_calls(base: Sequence[Row], head: Sequence[Row]) -> Likeness:
    """Compare calls and time per call of the kernels in common, or of the operators where there are no kernels.

    Nearly all go with a ratio only if they do both by their time and by their calls: a program that is one large kernel
    and calls it less often has not done less work.
    """
    table = "kernel" if any(row.table == "kernel" for row in base) else "operator"
    others = {row[:4]: row for row in head if row.table == table and row.calls and row.ns}
    ours = [row for row in base if row.table == table and row.calls and row.ns and row[:4] in others]
    if not ours:
        return Likeness(None, None)
    pairs = [(row, others[row[:4]]) for row in ours]
    calls = [float(other.calls / row.calls) for row, other in pairs]
    costs = [float(other.ns * row.calls / (other.calls * row.ns)) for row, other in pairs]
    by_time, by_calls = ([float(row.ns) for row in ours], [float(row.calls) for row in ours])
    work = weighted_median(calls, by_time)
    along = [abs(ratio / work - 1) <= IN_STEP for ratio in calls]
    parts = [sum(compress(weights, along)) / sum(weights) for weights in (by_time, by_calls)]
    per_call = weighted_median(costs, by_time)
    even = sum(compress(by_time, (abs(ratio / per_call - 1) <= IN_TIME for ratio in costs))) >= MOST * sum(by_time)
    return Likeness(work if min(parts) >= MOST else None, per_call, even and len(pairs) >= SEVERAL)


def weighted_median(values: Sequence[float], weights: Sequence[float]) -> float:
    """Return the value at which half of the weight is reached."""
    order = sorted(range(len(values)), key=values.__getitem__)
    reached = accumulate(weights[at] for at in order)
    half = sum(weights) / 2
    return next((values[at] for at, weight in zip(order, reached, strict=True) if weight >= half), values[order[-1]])


def other_program(base: Sequence[Row], head: Sequence[Row]) -> str:
    """Say why two sides are taken to be different programs; empty if they are one.

    Names of operators are those of a library: any two programs have some of them in common, and spend time on them. One
    program has most of its names in common with itself, however much of its time a change took away. Two programs that
    train share the names of training, but spend hardly any time in the same operators, and none in the same lines.
    """
    sides = (base, head)
    names = [{row.name for row in rows if kernel_name(row) or operator_name(row)} for rows in sides]
    if not (names[0] and names[1]):  # with nothing to tell them by, they may be one
        return "only one side has kernels or operators" if names[0] or names[1] else ""
    alike = max(names_in_common(*sides, kernel_name), names_in_common(*sides, operator_name))
    kernels, operators, places = (time_in_common(*sides, key) for key in (kernel_name, operator_name, place))
    elsewhere = all(any(place(row) for row in rows) for rows in sides) and places < NO_TIME and operators < SOME_TIME
    one = (alike >= ONE_PROGRAM and not elsewhere) or kernels >= LIKELY_ONE or places >= SOME_TIME
    if one or (alike >= LIKELY_ONE and operators >= SOME_TIME):
        return ""
    if elsewhere:
        share = percent(operators, digits=0)
        return f"{share} of their time goes to operators of the same names, none to the same code"
    common, total = len(names[0] & names[1]), len(names[0] | names[1])
    return f"{common:,} of {total:,} names of kernels and operators are on both sides"


def kernel_name(row: Row) -> str:
    """Return the name of a kernel."""
    return row.name if row.table == "kernel" else ""


def operator_name(row: Row) -> str:
    """Return the name of an operator, unless it stands for none."""
    return row.name if row.table == "operator" and not row.name.startswith("(") else ""


def place(row: Row) -> str:
    """Return module and line of an operator."""
    return f"{row.module} {row.where}".strip() if row.table == "operator" else ""


def names_in_common(base: Iterable[Row], head: Iterable[Row], key: Callable[[Row], str]) -> float:
    """Return the part of all names that is on both sides; what has no name does not count."""
    names = [{name for row in rows if (name := key(row))} for rows in (base, head)]
    return len(names[0] & names[1]) / max(len(names[0] | names[1]), 1)


def time_in_common(base: Iterable[Row], head: Iterable[Row], key: Callable[[Row], str]) -> float:
    """Return the part of the time that both sides spend on the same names."""
    shares = []
    for rows in (base, head):
        spent: dict[str, float] = {}
        for row in rows:
            if name := key(row):
                spent[name] = spent.get(name, 0.0) + float(row.ns)
        total = sum(spent.values()) or 1.0
        shares.append({name: ns / total for name, ns in spent.items()})
    return sum(min(share, shares[1].get(name, 0.0)) for name, share in shares[0].items())
