"""Finds the events that a `Which` means: by name, by the user's line of Python, by thread or by row."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from perfkit.attribute.blame import cut_by_line, python_rows, thread_name
from perfkit.attribute.host import CODE, paint
from perfkit.attribute.intervals import EMPTY, Union
from perfkit.model.arrays import distinct
from perfkit.model.program import Spans
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from perfkit.attribute.host import Host
    from perfkit.attribute.places import Places
    from perfkit.model.prediction import Which

    Ints = NDArray[np.int64]
    Mask = NDArray[np.bool_]

__all__ = ["Selection"]


class Selection:
    """Finds events of one trace; see `perfkit.model.program.Selection` for what each method returns."""

    def __init__(self, host: Host, places: Places) -> None:
        """Look for nothing yet."""
        self.host = host
        self.places = places

    def calls(self, which: Which) -> Mask:
        """Mark calls of runtime and driver."""
        calls = self.host.work.calls
        return self.named(calls.row, which) & self.placed(calls.thread, calls.start, which)

    def activities(self, which: Which) -> Mask:
        """Mark device activities."""
        work = self.host.work
        activities, calls = work.activities, work.calls
        found = self.named(activities.row, which)
        if which.where or which.threads:
            linked = np.flatnonzero(activities.call >= 0)
            call, placed = activities.call[linked], np.zeros(len(found), bool)
            placed[linked] = self.placed(calls.thread[call], calls.start[call], which)
            found &= placed
        return found

    def operators(self, which: Which) -> Spans:
        """Return operators, or annotations."""
        return self.spans_of((Category.OPERATOR, Category.ANNOTATION), which)

    def operators_around(self, calls: Ints) -> Spans:
        """Return the innermost operators around calls."""
        table = self.host.work.calls
        rows = [EMPTY]
        for thread in distinct(table.thread[calls]).tolist():
            times = table.start[calls[table.thread[calls] == thread]]
            found = distinct(self.places.innermost("operators", thread, times))
            rows.append(found[found >= 0])
        return self.outermost(np.concatenate(rows))

    def host_time(self, cause: str, which: Which) -> Spans:
        """Return the time of host threads that is owed to an idle cause."""
        columns = self.host.work.trace.columns
        found = [Spans(EMPTY.astype(np.int32), EMPTY, EMPTY, EMPTY)]
        for thread in distinct(self.host.work.trace.columns["thread"][self.host.rows]).tolist():
            layers = [layer for layer in self.host.layers(thread) if len(layer.start)]
            mine = self.host.rows[self.host.bounds[thread] : self.host.bounds[thread + 1]]
            low, high = columns["start"][mine].min(keepdims=True), columns["end"][mine].max(keepdims=True)
            if high <= low:
                continue
            pieces = paint(low, high, layers, EMPTY, "unattributed_host_silent")
            pieces = cut_by_line(self.host, self.places, pieces)
            some = np.flatnonzero((pieces.cause == CODE.get(cause, -1)) & (pieces.row >= 0))
            rows = python_rows(self.host, self.places, pieces, some)
            on = np.full(len(some), thread, np.int32)
            chosen = self.named(rows, which) & self.placed(on, pieces.start[some], which)
            kept = some[chosen]
            found.append(Spans(on[chosen], pieces.start[kept], pieces.end[kept], rows[chosen]))
        return Spans(*(np.concatenate(values) for values in zip(*found, strict=True)))

    def spans_of(self, categories: Sequence[Category], which: Which) -> Spans:
        """Return the outermost rows of some categories; annotations only if they are named."""
        columns = self.host.work.trace.columns
        wanted = np.zeros(256, bool)
        wanted[list(categories)] = True
        rows = self.host.rows[wanted[self.host.categories]]
        if not which.names and not which.rows:
            rows = rows[columns["category"][rows] == Category.OPERATOR]
        rows = rows[self.named(rows, which)]
        rows = rows[self.placed(columns["thread"][rows], columns["start"][rows], which)]
        return self.outermost(rows)

    def outermost(self, rows: Ints) -> Spans:
        """Return rows as disjoint spans of their threads."""
        columns = self.host.work.trace.columns
        rows = rows[np.lexsort((-columns["end"][rows], columns["start"][rows], columns["thread"][rows]))]
        thread = columns["thread"][rows]
        found = [Spans(EMPTY.astype(np.int32), EMPTY, EMPTY, EMPTY)]
        for index in distinct(thread).tolist():
            mine = rows[thread == index]
            union = Union.of(columns["start"][mine], columns["end"][mine])
            on = np.full(len(union.start), index, np.int32)
            found.append(Spans(on, union.start, union.end, mine[union.first].astype(np.int64)))
        return Spans(*(np.concatenate(values) for values in zip(*found, strict=True)))

    def named(self, rows: Ints, which: Which) -> Mask:
        """Mark the rows that names and rows ask for."""
        found = np.ones(len(rows), bool)
        if which.rows:
            found &= np.isin(rows, np.array(which.rows))
        if which.names:
            trace = self.host.work.trace
            texts = "|".join(re.escape(name.removeprefix("void ")).replace(r"\*", ".*") for name in which.names)
            pattern = re.compile(f"(?:void )?(?:{texts})", re.DOTALL)
            names, number = np.unique(trace.columns["name"][rows], return_inverse=True)
            fits = np.array([pattern.fullmatch(trace.strings[name]) is not None for name in names.tolist()], bool)
            found &= fits[number] if len(names) else found
        return found

    def placed(self, thread: NDArray[np.int32], start: Ints, which: Which) -> Mask:
        """Mark the moments of threads that threads and lines ask for."""
        found = np.ones(len(thread), bool)
        if not which.threads and not which.where:
            return found
        for index in distinct(thread).tolist():
            mine = np.flatnonzero(thread == index)
            if which.threads and thread_name(self.host, index) not in which.threads:
                found[mine] = False
            elif which.where:
                found[mine] = [line.startswith(which.where) for line in self.lines(index, start[mine])]
        return found

    def lines(self, thread: int, times: Ints) -> list[str]:
        """Return the user's line of Python around moments of a thread; it is looked for once for each event around."""
        around = np.stack([self.places.innermost(kind, thread, times) for kind in ("lines", "operators", "samples")])
        known: dict[tuple[int, ...], str] = {}
        found = []
        for key, time in zip(map(tuple, around.T.tolist()), times.tolist(), strict=True):
            if key not in known:
                known[key] = self.places.line_at(thread, time)
            found.append(known[key])
        return found
