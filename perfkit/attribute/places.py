"""Where in the user's program something happened: operator, module and Python line around a moment on a thread."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

import numpy as np

from perfkit.attribute.intervals import Nest
from perfkit.attribute.names import pattern
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.attribute.host import Host

    Ints = NDArray[np.int64]

__all__ = ["Places"]

FRAME = re.compile(r"\(\d+\): ")


class Places:
    """Looks up what encloses a moment on a host thread; each thread is indexed when first asked about."""

    def __init__(self, host: Host) -> None:
        """Index nothing yet."""
        self.host = host
        self.operators = functools.cache(self._operators)
        self.annotations = functools.cache(self._annotations)
        self.modules = functools.cache(self._modules)
        self.samples = functools.cache(self._samples)
        self.lines = functools.cache(self._lines)

    def _nest(self, rows: Ints) -> tuple[Ints, Nest]:
        columns = self.host.work.trace.columns
        return rows, Nest(columns["start"][rows], columns["end"][rows])

    def _operators(self, thread: int) -> tuple[Ints, Nest]:
        return self._nest(self.host.of_thread(thread, Category.OPERATOR))

    def _annotations(self, thread: int) -> tuple[Ints, Nest]:
        return self._nest(self.host.of_thread(thread, Category.ANNOTATION))

    def _samples(self, thread: int) -> tuple[Ints, Nest]:
        return self._nest(self.host.of_thread(thread, Category.SAMPLE))

    def _modules(self, thread: int) -> tuple[Ints, Nest]:
        rows = self.host.of_thread(thread, Category.PYTHON)
        return self._nest(rows[self.host.work.names.match("python", "module", rows)])

    def _lines(self, thread: int) -> tuple[Ints, Nest]:
        rows = self.host.of_thread(thread, Category.PYTHON)
        return self._nest(rows[~self.host.work.names.match("python", "library", rows)])

    def innermost(self, kind: str, thread: int, times: Ints) -> Ints:
        """Return the row of the innermost event of a kind (a method here) around each time on a thread, or -1."""
        rows, nest = getattr(self, kind)(thread)
        position = nest.innermost(times)
        return np.where(position >= 0, rows[position], -1) if len(rows) else position

    def printing(self, thread: int, times: Ints) -> Ints:
        """Return 1 for each time at which a tensor was being written as text on a thread, else 0."""
        rows = self.host.of_thread(thread, Category.PYTHON)
        rows = rows[self.host.work.names.match("python", "print", rows)]
        start, end = (self.host.work.trace.columns[name][rows] for name in ("start", "end"))
        return (np.searchsorted(start, times, "right") > np.searchsorted(np.sort(end), times, "right")).astype(np.int64)

    def call_within(self, thread: int, start: int, end: int) -> int:
        """Return the row of the innermost call in the stacks of a thread that fills most of a stretch, or -1."""
        rows = self.host.of_thread(thread, Category.PYTHON)
        begun, ended = (self.host.work.trace.columns[name][rows] for name in ("start", "end"))
        most = np.flatnonzero(2 * (np.minimum(ended, end) - np.maximum(begun, start)) > end - start)
        return int(rows[most[-1]]) if len(most) else -1

    def line_at(self, thread: int, time: int) -> str:
        """Return the user's Python line around a moment, or an empty string where the trace has no stacks."""
        moment = np.array([time])
        row = int(self.innermost("lines", thread, moment)[0])
        trace = self.host.work.trace
        if row >= 0:
            return trace.strings[int(trace.columns["name"][row])]
        operator = int(self.innermost("operators", thread, moment)[0])
        if operator >= 0:
            return self.line_of_text(self.stack_of(operator))
        sample = int(self.innermost("samples", thread, moment)[0])
        return self.line_of_text(";".join(self.stack_of(sample).split(";")[::-1]))

    def stack_of(self, row: int) -> str:
        """Return the recorded call stack of an operator or a sample (-1: none), or an empty string."""
        trace = self.host.work.trace
        known = row >= 0 and "call_stack" in trace.columns
        return trace.strings[int(trace.columns["call_stack"][row])] if known else ""

    @staticmethod
    def line_of_text(text: str) -> str:
        """Return the user's innermost line of a stack: one frame, or frames joined by ``;`` (traces up to 2022)."""
        library = pattern("python", "library")
        return next((line for line in text.split(";") if FRAME.search(line) and not library.search(line)), "")
