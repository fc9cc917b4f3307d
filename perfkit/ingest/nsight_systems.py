"""Nsight Systems exports (SQLite), from tables to a Trace in the vocabulary of Kineto's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.errors import UnknownFormatError
from perfkit.ingest.database import open_database
from perfkit.ingest.defects import DefectList
from perfkit.ingest.event_times import clock_of
from perfkit.ingest.formats import FORMATS_READ
from perfkit.ingest.nsight_device import KERNELS, add_device_rows
from perfkit.ingest.nsight_host import RANGES, add_host_rows
from perfkit.ingest.nsight_names import Names
from perfkit.ingest.nsight_rows import Rows, Threads
from perfkit.ingest.nsight_session import note_missing_activity, read_session, read_thread_names
from perfkit.model.columns import COLUMNS
from perfkit.model.trace import Strings, Trace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from perfkit.ingest.database import Database
    from perfkit.ingest.source import Content
    from perfkit.model.columns import Column

    Progress = Callable[[int, int | None], None]

__all__ = ["FORMAT", "read_database", "read_trace"]

FORMAT: Final = "nsight-systems"

_KNOWN: Final = frozenset(
    ("META_DATA_EXPORT", "META_DATA_CAPTURE", "EXPORT_META_DATA", "TARGET_INFO_SESSION_START_TIME", KERNELS, RANGES)
)
"""A database with one of these tables is an export of Nsight Systems."""

_TABLES_SHOWN: Final = 5

_TEXTS: Final = ("name", *(c.name for c in COLUMNS if c.place == "args" and c.kind in ("text", "json", "key")))
"""Columns that index the strings."""


def read_trace(content: Content, columns: Sequence[Column], progress: Progress | None) -> Trace:
    """Read an export to its end, as `perfkit.ingest.formats.TraceReader` has it; a stream goes through a file first."""
    with content.on_disk(".sqlite") as path:
        return read_database(path, content.source.label, columns, progress, compression=content.source.defects)


def read_database(
    path: str,
    label: str,
    columns: Sequence[Column],
    progress: Progress | None,
    *,
    compression: Sequence[tuple[str, int]] = (),
) -> Trace:
    """Read an export.

    Args:
        path: Where it lies.
        label: What to call it.
        columns: What to read beside what every row has.
        progress: Called now and then with the bytes read, and how many there are.
        compression: What was wrong with its compression, as kind and offset.

    Raises:
        UnknownFormatError: It is a database, but not of Nsight Systems.
        UnreadableTraceError: It cannot be opened, or is damaged from the start.
    """
    defects = DefectList()
    for kind, offset in compression:
        defects.add(kind, 1, offset)
    with open_database(path, progress, label=label) as database:
        if not _KNOWN & database.tables.keys():
            raise _foreign(label, database)
        session = read_session(database, defects)
        strings = database.read("StringIds", ("id",), ("value",))
        ranges = database.read(RANGES, ("start", "end", "eventType", "globalTid", "textId"), ("text",))
        texts = database.strings
        named = _decoded(texts, strings["id"], strings["value"])
        names = Names(texts, strings["id"], strings["value"])
        threads = Threads(read_thread_names(database, named))
        rows = Rows(columns)
        work = add_device_rows(database, names, threads, rows, defects)
        add_host_rows(database, ranges, names, threads, rows)
        for kind, count, place in database.defects:
            defects.add(kind, count, detail=place)
    if not work:
        note_missing_activity(session, defects)
    table, earliest_ns = rows.table(defects)
    kept = names.compacted([table[name] for name in _TEXTS if name in table])
    epoch_ns = session.epoch_ns + earliest_ns
    return Trace(
        path=label,
        format=FORMAT,
        epoch_ns=epoch_ns,
        clock=clock_of(epoch_ns),
        columns=table,
        strings=Strings(kept),
        threads=tuple(threads.found),
        devices=session.devices,
        rank=session.rank,
        world_size=session.world_size,
        events=rows.count,
        defects=defects.sorted(),
        header=session.values,
    )


def _decoded(texts: list[bytes], ids: NDArray[np.int64], values: NDArray[np.int32]) -> dict[int, str]:
    """Return the string table as a mapping; only names of threads are looked up in it."""
    return {
        key: texts[value].decode("utf-8", "replace")
        for key, value in zip(ids.tolist(), values.tolist(), strict=True)
        if value >= 0
    }


def _foreign(label: str, database: Database) -> UnknownFormatError:
    shown = ", ".join(repr(name[:40]) for name in list(database.tables)[:_TABLES_SHOWN])
    what = f"its tables are {shown}" if shown else "it has no table"
    message = f"{label} is an SQLite database, but no export of Nsight Systems: {what}. {FORMATS_READ}."
    return UnknownFormatError(message)
