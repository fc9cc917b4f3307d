"""Who held the device up and who was held up: host events to blame for idle time, and threads that were blocked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.attribute.host import CODE, Layer, Pieces
from perfkit.attribute.intervals import Union, distinct, spread
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
        by_length = np.lexsort((length, key))
        ordered = key[by_length]
        last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
        group = np.searchsorted(ordered[last], key)
        total = np.bincount(group, weights=length)
        spans = int(pieces.gap.max()) + 1
        gaps = np.bincount(distinct(group * spans + pieces.gap[held]) // spans)
        longest = by_length[last]
        for index, piece in enumerate(longest.tolist()):
            row, cause = int(rows[piece]), int(pieces.cause[held[piece]])
            same = (cause, int(ordered[last[index]]))
            loss = self._found.setdefault(same, Loss(cause, row))
            loss.ns += int(total[index])
            loss.gaps += int(gaps[index])
            if length[piece] > loss.longest_ns:
                loss.longest_ns, loss.longest_start = int(length[piece]), int(pieces.start[held[piece]])

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
    thread = host.work.trace.columns["thread"][pieces.row[python]]
    starts, sources = [pieces.start], [np.arange(len(pieces.start))]
    for index in np.unique(thread).tolist():
        some = python[thread == index]
        nests = [places.annotations(index)[1], places.lines(index)[1]]
        cuts = distinct(np.concatenate([times for nest in nests for times in (nest.start, nest.end)]))
        first, last = np.searchsorted(cuts, pieces.start[some], "right"), np.searchsorted(cuts, pieces.end[some])
        starts.append(cuts[spread(first, last)])
        sources.append(np.repeat(some, last - first))
    start, source = np.concatenate(starts), np.concatenate(sources)
    order = np.lexsort((start, source))
    start, source = start[order], source[order]
    end = np.append(start[1:], 0)
    last_of = np.append(source[1:] != source[:-1], True)[: len(source)]
    end = np.where(last_of, pieces.end[source], end[: len(source)])
    return Pieces(start, end, pieces.cause[source], pieces.row[source], pieces.gap[source])


def python_rows(host: Host, places: Places, pieces: Pieces, held: Ints) -> Ints:
    """Return the rows to blame; for Python time that is the user's innermost line, or else annotation."""
    rows = pieces.row[held].copy()
    python = np.flatnonzero(pieces.cause[held] == CODE["python"])
    thread = host.work.trace.columns["thread"][rows[python]]
    for index in np.unique(thread).tolist():
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
    calls = host.of_thread(thread, Category.RUNTIME)
    if not len(host.of_thread(thread, *AT_WORK)):
        return rows[:0]
    around = np.concatenate((calls, host.loaders(thread)))
    around = around[np.argsort(columns["start"][around], kind="stable")]
    held = Layer.of("os_wait", around, columns["start"][around], columns["end"][around])
    return rows[held.holding(columns["start"][rows]) < 0]
