"""Steps of the program: marks on the host, and the stretches of device time that they caused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from perfkit.model.arrays import distinct
from perfkit.model.columns import MISSING_INT
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.attribute.work import Work

    Ints = NDArray[np.int64]

__all__ = ["Marks", "device_bounds", "find_marks"]

STEP_NUMBER = re.compile(r"\d+$")
FEWEST_REPEATS = 3
LEAST_COVERAGE = 0.5
NOT_STEPS = re.compile(r"DataLoader|^Optimizer\.|^nccl:|^c10d|CompiledFxGraph|^Torch-Compiled|DistributedDataParallel")


@dataclass(frozen=True, slots=True)
class Marks:
    """Host marks of the steps of one process, in order of start; ``source`` says what they were found from.

    ``thread`` is the one that they are all on, or -1.
    """

    source: str
    names: tuple[str, ...]
    start: Ints
    end: Ints
    thread: int = -1

    def __len__(self) -> int:
        """Return the number of marks."""
        return len(self.start)

    def of_launches(self, launch_start: Ints) -> Ints:
        """Return the step of each launch: the last mark begun by then, or -1 before the first and after the end."""
        step = np.searchsorted(self.start, launch_start, "right") - 1
        return np.where(launch_start < self.end.max(), step, -1)


NO_MARKS = Marks("none", (), np.empty(0, np.int64), np.empty(0, np.int64))


def find_marks(work: Work, process: int) -> Marks:
    """Find the steps of a process: ``ProfilerStep#`` and its like, else the optimizer's, else a repeated annotation."""
    trace = work.trace
    rows = trace.rows(Category.ANNOTATION)
    rows = rows[work.process_of_thread[trace.columns["thread"][rows]] == process]
    rows = rows[np.argsort(trace.columns["start"][rows], kind="stable")]
    start, end = trace.columns["start"][rows], trace.columns["end"][rows]
    steps = work.names.match("host", "step", rows)
    if steps.any():
        return marks(work, STEP_NUMBER.sub("", first_name(work, rows[steps])), rows[steps])
    optimizer = np.flatnonzero(work.names.match("host", "optimizer", rows))
    if len(optimizer):
        ends = end[optimizer]
        edges = np.concatenate(([first_event(work, process)], np.maximum.accumulate(ends)))
        names = tuple(f"step {number}" for number in range(len(ends)))
        return Marks("Optimizer.step", names, edges[:-1], edges[1:])
    return repeated(work, rows, start, end)


def first_event(work: Work, process: int) -> int:
    """Return when the first annotation, operator or call of a process begins."""
    columns = work.trace.columns
    rows = work.trace.rows(Category.ANNOTATION, Category.OPERATOR, Category.RUNTIME)
    return int(columns["start"][rows[work.process_of_thread[columns["thread"][rows]] == process]].min())


def first_name(work: Work, rows: Ints) -> str:
    """Return the name of the first of some rows."""
    return work.trace.strings[int(work.trace.columns["name"][rows[0]])]


def marks(work: Work, source: str, rows: Ints) -> Marks:
    """Make marks of annotation rows, named by their own names."""
    columns, strings = work.trace.columns, work.trace.strings
    names = tuple(strings[index] for index in columns["name"][rows].tolist())
    threads = distinct(columns["thread"][rows])
    thread = int(threads[0]) if len(threads) == 1 else -1
    return Marks(source, names, columns["start"][rows], columns["end"][rows], thread)


def repeated(work: Work, rows: Ints, start: Ints, end: Ints) -> Marks:
    """Find the annotation (numbers in its name aside) that repeats and covers most of the time."""
    if len(rows) < FEWEST_REPEATS:
        return NO_MARKS
    strings, name_of = work.trace.strings, work.trace.columns["name"][rows]
    distinct, code = np.unique(name_of, return_inverse=True)
    families = [re.sub(r"\d+", "#", strings[index]) for index in distinct.tolist()]
    labels = {name: number for number, name in enumerate(dict.fromkeys(families))}
    family = np.array([labels[name] for name in families])[code]
    order = np.argsort(family, kind="stable")
    best, best_cover = NO_MARKS, int((end.max() - start.min()) * LEAST_COVERAGE)
    for label, members in zip(labels, np.split(order, np.cumsum(np.bincount(family))[:-1]), strict=True):
        if len(members) < FEWEST_REPEATS or NOT_STEPS.search(label):
            continue
        cover = int((end[members] - start[members]).sum())
        if cover > best_cover and (start[members][1:] >= end[members][:-1]).all():
            best, best_cover = marks(work, label, rows[members]), cover
    return best


def device_bounds(step: Ints, before: NDArray[np.bool_], start: Ints, end: Ints) -> tuple[Ints, list[int]]:
    """Turn the step of each activity (-1: none) into device time: step k ends with the last activity launched in it.

    Args:
        step: Step in which each activity was launched.
        before: Activities launched before the first step.
        start: Starts of the activities.
        end: Ends of the activities.

    Returns:
        ``bounds`` and the indices of the steps with device work: step ``kept[i]`` is ``[bounds[i], bounds[i + 1])``.
        The first of them
        begins at the end of what was launched before it, or else at its own first activity.
    """
    inside = step >= 0
    last = np.full(int(step.max(initial=-1)) + 1, MISSING_INT)
    np.maximum.at(last, step[inside], end[inside])
    kept = np.flatnonzero(last != MISSING_INT).tolist()
    if not kept:
        return np.empty(0, np.int64), []
    opening = int(end[before].max()) if before.any() else int(start[step == kept[0]].min())
    return np.maximum.accumulate(np.array([opening, *last[kept].tolist()])), kept
