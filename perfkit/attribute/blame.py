"""Who held the device up and who was held up: host events to blame for idle time, and threads that were blocked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.attribute.host import CODE, Layer, Pieces
from perfkit.attribute.intervals import Union, spread
from perfkit.model.arrays import distinct
from perfkit.model.attribution import IDLE_CAUSES, Blame, Blocked
from perfkit.model.table import Table
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from perfkit.attribute.host import Host
    from perfkit.attribute.places import Places
    from perfkit.attribute.timeline import Reading

    Ints = NDArray[np.int64]

__all__ = ["Losses", "blocked", "thread_name"]

ROWS_PER_CAUSE: Final = 5

AT_WORK: Final = (Category.OPERATOR, Category.ANNOTATION, Category.RUNTIME, Category.PYTHON)
"""What shows that a thread does something for the program. Samples do not: threads of drivers are sampled, too."""


def thread_name(host: Host, thread: int) -> str:
    """Name a thread: its name where that says which it is, else its key."""
    entry = host.work.trace.threads[thread]
    return entry.name if entry.key in entry.name else f"{entry.key} {entry.name}".strip()


class Losses:
    """Sums idle time by cause and host event, a block of pieces at a time; events of one name on one thread are one."""

    def __init__(self, host: Host, places: Places) -> None:
        """Start from nothing."""
        self.host = host
        self.places = places
        self.pieces = np.zeros(len(CODE), np.int64)
        self._found: dict[tuple[int, int], Loss] = {}

    def add(self, pieces: Pieces) -> None:
        """Add pieces; a gap lies in one block."""
        self.pieces += np.bincount(pieces.cause, minlength=len(CODE))
        pieces = cut_by_line(self.host, self.places, pieces)
        held = np.flatnonzero(pieces.row >= 0)
        if not len(held):
            return
        trace = self.host.work.trace
        rows = python_rows(self.host, self.places, pieces, held)
        length = (pieces.end - pieces.start)[held]
        name = np.maximum(trace.columns["name"][rows], -1) + 1  # 0 where there is none
        key = trace.columns["thread"][rows].astype(np.int64) * (len(trace.strings) + 1) + name
        key = key * len(CODE) + pieces.cause[held]
        order = np.argsort(key, kind="stable")
        key, length, gap = key[order], length[order], pieces.gap[held[order]]
        first = np.flatnonzero(np.append(True, key[1:] != key[:-1]))
        group = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(key))))
        longest = np.flatnonzero(length == np.maximum.reduceat(length, first)[group])
        longest = longest[np.append(True, group[longest][1:] != group[longest][:-1])]
        total = np.add.reduceat(length, first)
        gaps = np.add.reduceat(np.append(True, (gap[1:] != gap[:-1]) | (key[1:] != key[:-1])).astype(np.int64), first)
        for index, at in enumerate(longest.tolist()):
            piece = held[order[at]]
            cause = int(pieces.cause[piece])
            loss = self._found.setdefault((cause, int(key[at])), Loss(cause, int(rows[order[at]])))
            loss.ns += int(total[index])
            loss.gaps += int(gaps[index])
            if length[at] > loss.longest_ns:
                loss.longest_ns, loss.longest_start = int(length[at]), int(pieces.start[piece])

    def table(self, timeline: str) -> list[Blame]:
        """Return the events that own most of the time of each cause, largest first."""
        trace = self.host.work.trace
        largest = sorted(self._found.values(), key=lambda loss: -loss.ns)
        taken: Counter[int] = Counter()
        found = []
        for loss in largest:
            taken[loss.cause] += 1
            if taken[loss.cause] > ROWS_PER_CAUSE:
                continue
            thread = int(trace.columns["thread"][loss.row])
            found.append(
                Blame(
                    timeline=timeline,
                    cause=IDLE_CAUSES[loss.cause],
                    event=trace.strings[int(trace.columns["name"][loss.row])],
                    thread=thread_name(self.host, thread),
                    where=self.places.line_at(thread, loss.longest_start),
                    ns=loss.ns,
                    gaps=loss.gaps,
                )
            )
        return found


@dataclass(slots=True)
class Loss:
    """Idle time owed to one host event: ``row`` is one of its rows."""

    cause: int
    row: int
    ns: int = 0
    gaps: int = 0
    longest_ns: int = -1
    longest_start: int = 0


def cut_by_line(host: Host, places: Places, pieces: Pieces) -> Pieces:
    """Cut the pieces of Python time wherever a line or an annotation of the user's begins or ends."""
    python = np.flatnonzero((pieces.cause == CODE["python"]) & (pieces.row >= 0))
    if not len(python):
        return pieces
    thread = host.work.trace.columns["thread"][pieces.row[python]]
    parts = np.ones(len(pieces.start), np.int64)
    found = []
    for index in distinct(thread).tolist():
        some = python[thread == index]
        nests = [places.annotations(index)[1], places.lines(index)[1]]
        cuts = distinct(np.concatenate([times for nest in nests for times in (nest.start, nest.end)]))
        first, last = np.searchsorted(cuts, pieces.start[some], "right"), np.searchsorted(cuts, pieces.end[some])
        parts[some] += last - first
        found.append((some, cuts[spread(first, last)]))
    source = np.repeat(np.arange(len(parts)), parts)
    at = np.cumsum(parts) - parts  # where the parts of each piece begin
    start = pieces.start[source]
    for some, inner in found:
        start[spread(at[some] + 1, at[some] + parts[some])] = inner
    end = np.append(start[1:], 0)[: len(start)]
    end[at + parts - 1] = pieces.end
    return Pieces(start, end, pieces.cause[source], pieces.row[source], pieces.gap[source])


def python_rows(host: Host, places: Places, pieces: Pieces, held: Ints) -> Ints:
    """Return the rows to blame; for Python time that is the user's innermost line, or else annotation."""
    rows = pieces.row[held].copy()
    python = np.flatnonzero(pieces.cause[held] == CODE["python"])
    thread = host.work.trace.columns["thread"][rows[python]]
    for index in distinct(thread).tolist():
        some = python[thread == index]
        for kind in ("annotations", "lines"):
            better = places.innermost(kind, index, pieces.start[held[some]])
            rows[some] = np.where(better >= 0, better, rows[some])
    return rows


def blocked(host: Host, readings: Sequence[Reading]) -> Table[Blocked]:
    """Return the time each host thread was held up by each cause within the host's window, as unions."""
    columns = host.work.trace.columns
    windows: dict[str, tuple[int, int]] = {}
    for reading in readings:
        process = reading.timeline.process
        low, high = windows.get(process, reading.host)
        windows[process] = (min(low, reading.host[0]), max(high, reading.host[1]))
    found = []
    for thread, entry in enumerate(host.work.trace.threads):
        if entry.process not in windows or host.bounds[thread] == host.bounds[thread + 1]:
            continue
        low, high = windows[entry.process]
        causes = {
            "data_loading": host.loaders(thread),
            "synchronization": host.synchronizations(thread),
            "allocation": host.allocations(thread),
            "compilation": host.compilations(thread),
            "initialization": host.initializations(thread),
            "os_wait": waits_of_the_program(host, thread),
        }
        for cause, rows in causes.items():
            start, end = columns["start"][rows], columns["end"][rows]
            held = Union.of(start, end).within(low, high)
            if held:
                calls = int(((start < high) & (end > low)).sum())
                found.append(Blocked(thread_name(host, thread), cause, held, calls, high - low))
    return Table(sorted(found, key=lambda entry: -entry.ns))


def waits_of_the_program(host: Host, thread: int) -> Ints:
    """Return the operating-system calls of a thread that began outside of runtime calls and loaders, by start.

    What a call of the runtime or a loader waits for in the operating system, that call is blocked by already. A thread
    that does nothing but wait is none of the program's: profilers and drivers have such threads.
    """
    columns = host.work.trace.columns
    rows = host.of_thread(thread, Category.OS_CALL)
    if not len(rows) or not len(host.of_thread(thread, *AT_WORK)):
        return rows[:0]
    around = np.concatenate((host.of_thread(thread, Category.RUNTIME), host.loaders(thread)))
    around = around[np.argsort(columns["start"][around], kind="stable")]
    held = Layer.of("os_wait", around, columns["start"][around], columns["end"][around])
    return rows[held.holding(columns["start"][rows]) < 0]
