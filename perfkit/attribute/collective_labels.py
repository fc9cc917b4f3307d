"""What a run of a collective is: its kind, process group, message size and place in the group's own count."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.attribute.names import expressions
from perfkit.model.arrays import distinct
from perfkit.model.columns import MISSING_INT, MISSING_SMALL
from perfkit.model.fleet import COLLECTIVE_KINDS, ProcessGroup
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.attribute.places import Places
    from perfkit.attribute.work import Work

    Ints = NDArray[np.int64]

__all__ = ["Labels", "label_runs", "said_by", "values"]

KIND: Final = {kind: code for code, kind in enumerate(COLLECTIVE_KINDS)}
VAGUE: Final = (KIND["unknown"], KIND["send_recv"])
"""Kinds that a kernel's name leaves open: grouped sends make up an all-to-all, and a generic kernel does anything."""

MOST_TEXT: Final = 200
"""Characters kept of a group's name."""
MOST_ELEMENTS: Final = 2**48
"""No message has more; so the product with the size of an element is in range."""
LONGEST_LIST: Final = 1 << 16
"""Characters of a list of ranks that are looked at."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What the runs are, a column each, as in `perfkit.model.fleet.CollectiveRuns`."""

    kind: NDArray[np.int8]
    groups: tuple[ProcessGroup, ...]
    group: NDArray[np.int32]
    bytes: Ints
    sequence: Ints


def label_runs(work: Work, places: Places, runs: Ints) -> Labels:
    """Label runs, from the arguments of their kernels, else of the operator that launched them, else from names.

    Args:
        work: The linked trace, with `perfkit.model.columns.COLLECTIVE_FIELDS` where groups and sizes are to be told.
        places: Look-ups on the host threads.
        runs: Positions of activities that communicate.
    """
    rows = said_by(work, places, runs)
    groups, group = groups_of(work, rows)
    sequence = values(work, "group_sequence", rows)
    return Labels(
        kinds_of(work, places, runs, rows), groups, group, message_sizes(work, rows), np.maximum(sequence, -1)
    )


def values(work: Work, column: str, rows: Ints) -> Ints:
    """Return a column of rows; all absent (negative) where it was not read."""
    known = work.trace.columns.get(column)
    return np.full(len(rows), MISSING_INT) if known is None else known[rows].astype(np.int64)


def launches_by_thread(work: Work, runs: Ints) -> list[tuple[int, Ints, Ints]]:
    """Return, for each thread that launched runs, which of them it did and when."""
    call = work.activities.call[runs]
    linked = np.flatnonzero(call >= 0)
    thread = work.calls.thread[call[linked]] if len(linked) else np.empty(0, np.int32)
    found = []
    for index in distinct(thread).tolist():
        some = linked[thread == index]
        found.append((index, some, work.calls.start[call[some]]))
    return found


def said_by(work: Work, places: Places, runs: Ints) -> Ints:
    """Return the row whose arguments describe each run: its own, or the operator's it was launched in."""
    rows = work.activities.row[runs].copy()
    silent = values(work, "collective", rows) < 0
    if not silent.any() or "collective" not in work.trace.columns:
        return rows
    for thread, some, moment in launches_by_thread(work, runs):
        open_ones = silent[some]
        operator = places.innermost("operators", thread, moment[open_ones])
        known = (operator >= 0) & (values(work, "collective", operator) >= 0)
        rows[some[open_ones][known]] = operator[known]
    return rows


def kinds_of(work: Work, places: Places, runs: Ints, rows: Ints) -> NDArray[np.int8]:
    """Return the kind of each run by the name of the collective, of the kernel, and of the host's range around it."""
    activities = work.activities
    kind = kinds_by_name(work, activities.name[runs].astype(np.int64))
    said = kinds_by_name(work, values(work, "collective", rows))
    kind = np.where(said == KIND["unknown"], kind, said)
    for thread, some, moment in launches_by_thread(work, runs):
        vague = np.isin(kind[some], VAGUE)
        if not vague.any():
            continue
        around = places.innermost("annotations", thread, moment[vague])
        inside = np.flatnonzero(around >= 0)
        inside = inside[work.names.match("host", "collective", around[inside])]
        better = kinds_by_name(work, work.trace.columns["name"][around[inside]].astype(np.int64))
        where = some[vague][inside]
        kind[where] = np.where(better == KIND["unknown"], kind[where], better)
    kind[activities.category[runs] == Category.MEMCPY] = KIND["peer_copy"]
    return kind


def kinds_by_name(work: Work, names: Ints) -> NDArray[np.int8]:
    """Return the kind that each string (an index; negative: none) names, the first of the file of names that does."""
    kind = np.full(len(names), KIND["unknown"], np.int8)
    known = np.flatnonzero(names >= 0)
    for name in reversed(expressions()["collective"]):
        kind[known[work.names.verdicts("collective", name, names[known].astype(np.int32)) > 0]] = KIND[name]
    return kind


def message_sizes(work: Work, rows: Ints) -> Ints:
    """Return the bytes of the larger of input and output, -1 where elements or their type are not known."""
    elements = np.maximum(values(work, "in_elements", rows), values(work, "out_elements", rows))
    element_type = values(work, "element_type", rows)
    width = np.zeros(len(rows), np.int64)
    known = np.flatnonzero(element_type >= 0)
    for size in expressions()["element_type"]:
        width[known[work.names.verdicts("element_type", size, element_type[known].astype(np.int32)) > 0]] = int(size)
    good = (elements > 0) & (elements < MOST_ELEMENTS) & (width > 0)
    return np.where(good, elements * np.where(good, width, 0), -1)


def groups_of(work: Work, rows: Ints) -> tuple[tuple[ProcessGroup, ...], NDArray[np.int32]]:
    """Return the distinct process groups of rows, and the group of each row."""
    columns = ("group_name", "group_description", "group_ranks", "group_size")
    keys = np.stack([np.maximum(values(work, column, rows), -1) for column in columns], axis=1)
    distinct, group = np.unique(keys, axis=0, return_inverse=True)
    found: dict[ProcessGroup, int] = {}
    place = [found.setdefault(read_group(work, *key), len(found)) for key in distinct.tolist()]
    return tuple(found), np.array(place, np.int32)[group.reshape(-1)]


def read_group(work: Work, name: int, description: int, ranks: int, size: int) -> ProcessGroup:
    """Make a process group of string indices (negative: absent) and a size."""
    strings = work.trace.strings
    listed = parse_ranks(strings[ranks])
    if size not in (-1, MISSING_SMALL) and listed and len(listed) != size:
        listed = ()
    return ProcessGroup(strings[name][:MOST_TEXT], strings[description][:MOST_TEXT], max(size, len(listed), 0), listed)


def parse_ranks(text: str) -> tuple[int, ...]:
    """Return the ranks of a list such as ``[0, 1]``, quoted or not; none if it was cut short or is no list."""
    text = text.strip('"')
    if len(text) > LONGEST_LIST or not re.fullmatch(r"\[\s*\d{1,9}(\s*,\s*\d{1,9})*\s*\]", text):
        return ()
    return tuple(sorted(map(int, re.findall(r"\d+", text))))
