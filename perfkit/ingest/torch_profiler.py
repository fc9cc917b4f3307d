"""PyTorch Profiler traces (Kineto's Chrome-trace JSON), from bytes to a Trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import numpy as np

from perfkit.errors import UnreadableTraceError, UsageError
from perfkit.ingest.categories import category_codes
from perfkit.ingest.compiled import compiled
from perfkit.ingest.defects import DefectList
from perfkit.ingest.event_times import clock_of, ends, rows_with_a_time, shift_to_zero
from perfkit.ingest.foreign import unknown_json
from perfkit.ingest.header import parse_header
from perfkit.ingest.timeline_rows import device_and_stream_of, threads_of
from perfkit.model.columns import COLUMNS, DEFAULT_FIELDS, MISSING_SMALL
from perfkit.model.trace import DEVICE_CATEGORIES, Category, Strings, Trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from perfkit.ingest.source import Content, Source
    from perfkit.ingest.timeline_rows import Metadata
    from perfkit.model.columns import Column
    from perfkit.model.trace import Thread

    Columns = dict[str, NDArray[Any]]

__all__ = ["FORMAT", "Dialect", "columns_for", "read_events", "read_trace"]

FORMAT: Final = "torch-profiler"

_EVENT_COLUMNS: Final = tuple(column for column in COLUMNS if column.place == "event")
_FIELDS: Final = {column.name: column for column in COLUMNS if column.place == "args"}

_ON_DEVICE: Final = (*DEVICE_CATEGORIES, Category.DEVICE_ANNOTATION)


class Scanner(Protocol):
    """What both scanners are: JSON text in, in pieces of any size; columns, strings and defects out."""

    @property
    def strings(self) -> list[bytes]:
        """The string table, raw UTF-8."""

    @property
    def header(self) -> dict[bytes, bytes]:
        """The JSON text of the other top-level values."""

    @property
    def metadata(self) -> list[Metadata]:
        """The metadata events."""

    @property
    def phases(self) -> dict[str, int]:
        """Number of events of each phase."""

    @property
    def defects(self) -> list[tuple[str, int, int]]:
        """Kind, count and offset of what was wrong."""

    @property
    def top(self) -> str:
        """``object`` or ``list``; empty if nothing was recognised."""

    @property
    def events_seen(self) -> bool:
        """Whether there was a list of events, be it an empty one."""

    def feed(self, data: bytes) -> None:
        """Scan the next piece."""

    def finish(self) -> None:
        """Say that there is no more."""

    def column(self, name: str) -> NDArray[Any]:
        """Hand over a column; once."""


class Dialect(NamedTuple):
    """What sets apart the profilers that write Chrome events: the name of the format, and the meaning of categories.

    ``categories`` takes category and name of each row, as indices of strings, and the strings, like `category_codes`.
    """

    format: str
    categories: Callable[[NDArray[np.int32], NDArray[np.int32], Sequence[bytes]], tuple[NDArray[np.uint8], int, str]]


def columns_for(fields: Iterable[str] | None) -> tuple[Column, ...]:
    """Return the columns to scan: those of every event, and the named fields (`DEFAULT_FIELDS` for None).

    Raises:
        UsageError: There is no such field.
    """
    wanted = DEFAULT_FIELDS if fields is None else (fields,) if isinstance(fields, str) else tuple(fields)
    for name in wanted:
        if name not in _FIELDS:
            message = f"there is no field {name!r}: the fields are {', '.join(_FIELDS)}"
            raise UsageError(message)
    return (*_EVENT_COLUMNS, *(_FIELDS[name] for name in dict.fromkeys(wanted)))


def read_trace(
    content: Content, columns: Sequence[Column], progress: Callable[[int, int | None], None] | None
) -> Trace:
    """Read a trace to its end, as `perfkit.ingest.formats.TraceReader` has it."""
    return read_events(content, columns, progress, Dialect(FORMAT, category_codes))


def read_events(
    content: Content,
    columns: Sequence[Column],
    progress: Callable[[int, int | None], None] | None,
    dialect: Dialect,
) -> Trace:
    """Read Chrome events of any profiler to their end."""
    scanner = _new_scanner(columns)
    for chunk in content.chunks(progress):
        scanner.feed(chunk)
    scanner.finish()
    _expect_events(scanner, content.source)
    return _trace(scanner, content.source, columns, dialect)


def _new_scanner(columns: Sequence[Column]) -> Scanner:
    """Make the native scanner, or its twin in Python where there is none."""
    declared = [(column.name, column.kind, column.keys, column.place) for column in columns]
    module = compiled()
    if module is not None:
        native: Scanner = module.Scanner(declared)
        return native
    from perfkit.ingest import _scan_twin

    twin: Scanner = _scan_twin.Scanner(declared)
    return twin


def _expect_events(scanner: Scanner, source: Source) -> None:
    """Raise if this was no trace, or nothing of it is left."""
    phases = {phase: count for phase, count in scanner.phases.items() if count}
    if phases.keys() - {""}:
        return
    kinds = {kind for kind, _, _ in scanner.defects}
    if source.defects or (kinds & {"truncated", "truncated_event"} and "broken_header" not in kinds):
        message = f"{source.label} breaks off before its first event: copy it again, or record a shorter trace"
        raise UnreadableTraceError(message)
    if not scanner.events_seen or phases or "event_not_object" in kinds:
        raise unknown_json(source.label, scanner.top, scanner.header)


def _trace(scanner: Scanner, source: Source, columns: Sequence[Column], dialect: Dialect) -> Trace:
    defects = DefectList()
    for kind, count, offset in scanner.defects:
        defects.add(kind, count, offset)
    for kind, offset in source.defects:
        defects.add(kind, 1, offset)
    header = parse_header(scanner.header, defects)
    strings = scanner.strings
    table, threads, earliest_ns = _build(scanner, strings, columns, defects, dialect)
    if not len(table["start"]):
        defects.add("no_events", detail=_other_phases(scanner.phases))
    epoch_ns = header.base_ns + earliest_ns
    return Trace(
        path=source.label,
        format=dialect.format,
        epoch_ns=epoch_ns,
        clock=clock_of(epoch_ns),
        columns=table,
        strings=Strings(strings),
        threads=threads,
        devices=header.devices,
        rank=header.rank,
        world_size=header.world_size,
        events=sum(scanner.phases.values()),
        defects=defects.sorted(),
        header=header.values,
    )


def _other_phases(phases: dict[str, int]) -> str:
    """Name the phases of events that are there but have no extent in time; metadata is none."""
    others = ", ".join(f"{count:,} of phase {phase[:8]!r}" for phase, count in sorted(phases.items()) if phase != "M")
    return f"only {others[:200]}" if others else ""


def _build(
    scanner: Scanner, strings: Sequence[bytes], columns: Sequence[Column], defects: DefectList, dialect: Dialect
) -> tuple[Columns, tuple[Thread, ...], int]:
    """Turn the scanned columns into those of a Trace; each is taken from the scanner in its turn, to spare memory."""
    name = scanner.column("name")
    codes, unknown, shown = dialect.categories(scanner.column("category"), name, strings)
    defects.add("unknown_category", unknown, detail=shown)
    start = scanner.column("start")
    texts, names = Strings(strings), name
    keep = rows_with_a_time(start, codes, defects, lambda row: texts[int(names[row])])

    def kept(column: NDArray[Any]) -> NDArray[Any]:
        return column if keep is None else column[keep]

    name, codes, start = kept(name), kept(codes), kept(start)
    earliest_ns = shift_to_zero(start)
    duration = kept(scanner.column("duration"))
    end = ends(start, duration, codes, defects, lambda row: texts[int(name[row])])
    thread, threads = threads_of(
        kept(scanner.column("process")), kept(scanner.column("thread")), strings, scanner.metadata
    )
    table = {"start": start, "end": end, "name": name, "category": codes, "thread": thread}
    for column in columns:
        if column.place == "args":
            table[column.name] = kept(scanner.column(column.name))
    _fill_device_and_stream(table, threads)
    return table, threads, earliest_ns


def _fill_device_and_stream(table: Columns, threads: Sequence[Thread]) -> None:
    """Give device rows that do not say so their device and stream, from the keys of their process and thread."""
    on_device = np.isin(np.arange(256), _ON_DEVICE)[table["category"]]
    for column, of_thread in zip(("device", "stream"), device_and_stream_of(threads), strict=True):
        if column in table:
            rows = np.flatnonzero(on_device & (table[column] == MISSING_SMALL))
            table[column][rows] = of_thread[table["thread"][rows]]
