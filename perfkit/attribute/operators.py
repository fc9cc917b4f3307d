"""Device time by operator, with the module and the Python line it was launched under."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.model.arrays import distinct
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

BLOCK: Final = 1 << 17
"""Launches looked up at a time: memory is bounded by it."""


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
    device_ns = np.bincount(
        activities.call[linked], (activities.end - activities.start)[linked], minlength=len(calls.row)
    )
    launching = np.zeros(len(calls.row), bool)
    launching[activities.call[linked]] = True
    call = np.flatnonzero(launching)
    forward = ForwardModules(work, places)
    counted = np.zeros(len(work.trace), bool)
    blocks = []
    for first in range(0, len(call), BLOCK):
        block = call[first : first + BLOCK]
        thread, moment = calls.thread[block], calls.start[block]
        operator = np.full(len(block), -1, np.int64)
        for index in distinct(thread).tolist():
            some = np.flatnonzero(thread == index)
            operator[some] = places.innermost("operators", index, moment[some])
        # Several launches lie in one operator: its own time and its call count once.
        found, once = np.unique(operator, return_index=True)
        once = once[(found >= 0) & ~counted[found]]
        counted[operator[once]] = True
        new = np.where(operator < 0, 1, 0)
        new[once] = 1
        sums = {
            "device_ns": device_ns[block],
            "host_ns": np.where(operator >= 0, new * (columns["end"][operator] - columns["start"][operator]), 0),
            "calls": new,
            "launches": np.ones(len(block), np.int64),
        }
        blocks.append(tabulate(forward, operator, (thread, moment), sums))
    return merge(blocks)


def merge(tables: list[list[Operator]]) -> Table[Operator]:
    """Add up the rows of several tables that tell the same operator, module and line; largest first."""
    merged: dict[tuple[str, str, str], Operator] = {}
    for row in (row for rows in tables for row in rows):
        key = row[:3]
        sums = (old + new for old, new in zip(merged[key][3:], row[3:], strict=True)) if key in merged else row[3:]
        merged[key] = Operator(*key, *sums)
    return Table(sorted(merged.values(), key=lambda row: (-row.device_ns, -row.host_ns)))


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
    operator = rows[nest.order[some]].astype(np.int64)
    return merge([tabulate(ForwardModules(work, places), operator, moments, sums)])


def tabulate(
    forward: ForwardModules, operator: Ints, moments: tuple[NDArray[np.int32], Ints], sums: dict[str, Ints]
) -> list[Operator]:
    """Group by name, module and line around each moment: ``operator`` holds rows or -1, ``sums`` what to add up."""
    work, places = forward.work, forward.places
    thread, moment = moments
    module, line = np.full(len(operator), -1, np.int64), np.full(len(operator), -1, np.int64)
    for index in distinct(thread).tolist():
        some = np.flatnonzero(thread == index)
        module[some] = places.innermost("modules", index, moment[some])
        line[some] = places.innermost("lines", index, moment[some])
    module = np.where(module >= 0, module, forward.of(operator))
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
    for index in range(len(groups)):
        rest, parts = int(groups[index]), []
        for known, _ in reversed(texts):
            rest, part = divmod(rest, len(known))
            parts.append(known[part])
        where, module_name, operator_name = parts
        summed = {field: int(total[index]) for field, total in totals.items()}
        found.append(Operator(operator_name or "(outside operators)", module_name, where, **summed))
    return found


def labels(work: Work, strings: Ints, label: Callable[[str], str]) -> tuple[list[str], Ints]:
    """Turn string indices (-1: none) into distinct labels and the position of each one's label."""
    found, code = np.unique(strings, return_inverse=True)
    texts = [label(work.trace.strings[index]) for index in found.tolist()]
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


class ForwardModules:
    """Finds the module of a backward operator: that of the forward operator with the same sequence number."""

    def __init__(self, work: Work, places: Places) -> None:
        """Index the operators that bear a sequence number; of one number the earliest is the forward one."""
        self.work = work
        self.places = places
        columns = work.trace.columns
        rows = work.trace.rows(Category.OPERATOR)
        rows = rows[columns["sequence"][rows] != MISSING_INT] if "sequence" in columns else rows[:0]
        self.rows = rows[np.argsort(columns["start"][rows], kind="stable")]
        self.known, first = np.unique(columns["sequence"][self.rows], return_index=True) if len(rows) else (rows, rows)
        self.forward = self.rows[first]
        self.numbered = functools.cache(self._numbered)

    def _numbered(self, thread: int) -> Ints:
        rows: Ints = self.rows[self.work.trace.columns["thread"][self.rows] == thread]
        return rows

    def of(self, operator: Ints) -> Ints:
        """Return the row of the forward operator's module for each operator row (or -1), or -1."""
        columns = self.work.trace.columns
        answer = np.full(len(operator), -1, np.int64)
        if not len(self.rows):
            return answer
        present = np.flatnonzero(operator >= 0)
        thread = columns["thread"][operator[present]]
        for index in distinct(thread).tolist():
            some, numbered = present[thread == index], self.numbered(index)
            if not len(numbered):
                continue
            # The numbered operator around it: a launch may lie in one that has no number itself.
            around = numbered[
                np.searchsorted(columns["start"][numbered], columns["start"][operator[some]], "right") - 1
            ]
            inside = (columns["start"][around] <= columns["start"][operator[some]]) & (
                columns["end"][around] >= columns["end"][operator[some]]
            )
            some, number = some[inside], columns["sequence"][around[inside]]
            forward = self.forward[np.searchsorted(self.known, number)]
            origin = columns["thread"][forward]
            for other in distinct(origin).tolist():
                mine = origin == other
                answer[some[mine]] = self.places.innermost("modules", other, columns["start"][forward[mine]])
        return answer
