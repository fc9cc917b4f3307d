"""Device time by operator, with the module and the Python line it was launched under."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from perfkit.model.attribution import Operator
from perfkit.model.columns import MISSING_INT
from perfkit.model.table import Table
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from perfkit.attribute.places import Places
    from perfkit.attribute.work import Work

    Ints = NDArray[np.int64]

__all__ = ["host_operators", "operators"]


def operators(work: Work, places: Places, inside: Ints) -> Table[Operator]:
    """Sum device time by the innermost operator around each launch.

    Args:
        work: The linked trace.
        places: Look-ups on the host threads.
        inside: Positions of the activities within the windows.

    Returns:
        Operators by device time. A backward operator without a module of its own takes its forward operator's.
    """
    activities, calls, columns = work.activities, work.calls, work.trace.columns
    linked = inside[activities.call[inside] >= 0]
    used = np.zeros(len(calls.row), bool)
    used[activities.call[linked]] = True
    call, which = np.flatnonzero(used), (np.cumsum(used) - 1)[activities.call[linked]]
    thread, moment = calls.thread[call], calls.start[call]
    operator = np.full(len(call), -1, np.int64)
    for index in np.unique(thread).tolist():
        some = np.flatnonzero(thread == index)
        operator[some] = places.innermost("operators", index, moment[some])
    # Several launches lie in one operator: its own time and its call count once.
    _, once = np.unique(np.where(operator >= 0, operator, -1 - np.arange(len(operator))), return_index=True)
    first = np.zeros(len(call), np.int64)
    first[once] = 1
    duration = np.where(operator >= 0, columns["end"][operator] - columns["start"][operator], 0)
    sums = {
        "device_ns": np.bincount(which, (activities.end - activities.start)[linked], len(call)),
        "host_ns": first * duration,
        "calls": first,
        "launches": np.ones(len(call), np.int64),
    }
    return tabulate(work, places, operator, (thread, moment), sums)


def host_operators(work: Work, places: Places, thread: int, low: int, high: int) -> Table[Operator]:
    """Sum the own host time (without operators inside) of the operators that start in a window on a thread."""
    rows, nest = places.operators(thread)
    start, end = nest.start, nest.end
    own = end - start
    inner = np.flatnonzero(nest.parent >= 0)
    np.subtract.at(own, nest.parent[inner], (end - start)[inner])
    some = np.flatnonzero((start >= low) & (start < high))
    nothing = np.zeros(len(some), np.int64)
    sums = {
        "device_ns": nothing,
        "host_ns": np.maximum(own[some], 0),
        "calls": nothing + 1,
        "launches": nothing,
    }
    moments = (np.full(len(some), thread, np.int32), start[some])
    return tabulate(work, places, rows[nest.order[some]].astype(np.int64), moments, sums)


def tabulate(
    work: Work, places: Places, operator: Ints, moments: tuple[NDArray[np.int32], Ints], sums: dict[str, Ints]
) -> Table[Operator]:
    """Group by name, module and line around each moment: ``operator`` holds rows or -1, ``sums`` what to add up."""
    thread, moment = moments
    module, line = np.full(len(operator), -1, np.int64), np.full(len(operator), -1, np.int64)
    for index in np.unique(thread).tolist():
        some = np.flatnonzero(thread == index)
        module[some] = places.innermost("modules", index, moment[some])
        line[some] = places.innermost("lines", index, moment[some])
    module = np.where(module >= 0, module, forward_modules(work, places, operator))
    name = work.trace.columns["name"]
    texts = [
        labels(work, np.where(operator >= 0, name[operator], -1), str),
        labels(work, np.where(module >= 0, name[module], -1), module_class),
        labels(work, np.where(line >= 0, name[line], stack_strings(work, operator)), places.line_of_text),
    ]
    key = np.zeros(len(operator), np.int64)
    for known, code in texts:
        key = key * len(known) + code
    groups, group = np.unique(key, return_inverse=True)
    totals = {field: np.bincount(group, weight, len(groups)).astype(np.int64) for field, weight in sums.items()}
    found = []
    for index in np.lexsort((-totals["host_ns"], -totals["device_ns"])).tolist():
        rest, parts = int(groups[index]), []
        for known, _ in reversed(texts):
            rest, part = divmod(rest, len(known))
            parts.append(known[part])
        where, module_name, operator_name = parts
        summed = {field: int(total[index]) for field, total in totals.items()}
        found.append(Operator(operator_name or "(outside operators)", module_name, where, **summed))
    return Table(found)


def labels(work: Work, strings: Ints, label: Callable[[str], str]) -> tuple[list[str], Ints]:
    """Turn string indices (-1: none) into distinct labels and the position of each one's label."""
    distinct, code = np.unique(strings, return_inverse=True)
    texts = [label(work.trace.strings[index]) for index in distinct.tolist()]
    kept = list(dict.fromkeys(texts))
    number = {text: index for index, text in enumerate(kept)}
    return kept, np.array([number[text] for text in texts], np.int64)[code]


def module_class(name: str) -> str:
    """Return the class of a module row, without the number that tells its instances apart."""
    return re.sub(r"_\d+$", "", name.removeprefix("nn.Module: "))


def stack_strings(work: Work, operator: Ints) -> Ints:
    """Return the string of each operator's recorded call stack, or -1."""
    if "call_stack" not in work.trace.columns:
        return np.full(len(operator), -1, np.int64)
    return np.where(operator >= 0, np.maximum(work.trace.columns["call_stack"][operator], -1), -1)


def forward_modules(work: Work, places: Places, operator: Ints) -> Ints:
    """Return for backward operators the module row of the forward operator with the same sequence number, else -1."""
    columns = work.trace.columns
    answer = np.full(len(operator), -1, np.int64)
    if "sequence" not in columns or not len(operator):
        return answer
    rows = work.trace.rows(Category.OPERATOR)
    rows = rows[columns["sequence"][rows] != MISSING_INT]
    rows = rows[np.argsort(columns["start"][rows], kind="stable")]
    sequence = columns["sequence"][rows]
    wanted = np.full(len(operator), MISSING_INT)
    for index in np.unique(columns["thread"][operator[operator >= 0]]).tolist():
        some = np.flatnonzero((operator >= 0) & (columns["thread"][operator] == index))
        numbered = rows[columns["thread"][rows] == index]
        position = np.searchsorted(columns["start"][numbered], columns["start"][operator[some]], "right") - 1
        held = (
            (position >= 0) & (columns["end"][numbered[position]] >= columns["end"][operator[some]])
            if len(numbered)
            else position >= 0
        )
        wanted[some[held]] = columns["sequence"][numbered[position[held]]]
    known, first = np.unique(sequence, return_index=True)
    index = np.minimum(np.searchsorted(known, wanted), max(len(known) - 1, 0))
    backward = (
        np.flatnonzero((known[index] == wanted) & (wanted != MISSING_INT)) if len(known) else np.empty(0, np.int64)
    )
    forward = rows[first[index[backward]]]
    for thread in np.unique(columns["thread"][forward]).tolist():
        some = columns["thread"][forward] == thread
        answer[backward[some]] = places.innermost("modules", thread, columns["start"][forward[some]])
    return answer
