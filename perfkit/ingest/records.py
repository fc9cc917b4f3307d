"""Rows of a trace, gathered one by one from records that are no Chrome events."""

from __future__ import annotations

import heapq
from array import array
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from perfkit.errors import UnreadableTraceError
from perfkit.ingest.defects import DefectList
from perfkit.ingest.event_times import clock_of
from perfkit.ingest.nsight_rows import Rows
from perfkit.model.columns import MISSING_INT, MISSING_SMALL
from perfkit.model.trace import Category, Strings, Thread, Trace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from perfkit.ingest.source import Source
    from perfkit.model.columns import Column
    from perfkit.model.trace import Device

__all__ = ["Records", "lanes", "text", "whole"]

_LARGEST: Final = 2**62
_MOST_THREADS: Final = 1 << 20
_TEXTS: Final = ("name", "copy_kind", "grid", "block")
_NUMBERS: Final = ("start", "end", "device", "stream", "correlation", "bytes")


def whole(value: object) -> int:
    """Return a whole number as it is in JSON, or `MISSING_INT`."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST else MISSING_INT


def text(value: object) -> str:
    """Return a text as it is in JSON, or the empty one."""
    return value if isinstance(value, str) else ""


def lanes(spans: Sequence[tuple[int, int]]) -> list[int]:
    """Return for each span the lowest of lanes 0, 1, ... on which it overlaps no other."""
    found = [0] * len(spans)
    busy: list[tuple[int, int]] = []
    free: list[int] = []
    for place in sorted(range(len(spans)), key=spans.__getitem__):
        start, end = spans[place]
        while busy and busy[0][0] <= start:
            heapq.heappush(free, heapq.heappop(busy)[1])
        found[place] = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (end, found[place]))
    return found


class Records:
    """The rows of one trace, while they are gathered."""

    def __init__(self) -> None:
        """Begin with none."""
        self._columns = {name: array("q") for name in (*_NUMBERS, *_TEXTS, "thread", "category")}
        self._texts: dict[str, int] = {}
        self._threads: dict[Thread, int] = {}
        self.defects = DefectList()

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self._columns["start"])

    def add(
        self, category: Category, name: str, span: tuple[int, int], thread: Thread, **more: int | str | None
    ) -> None:
        """Add a row: its start and end in ns, and what else is known of it, by the names of columns."""
        start, end = span
        if start == MISSING_INT:
            self.defects.add("event_without_time")
            return
        values: dict[str, int | str | None] = {"name": name, "start": start, "end": end, **more}
        values["thread"] = min(self._threads.setdefault(thread, len(self._threads)), _MOST_THREADS)
        values["category"] = category
        for column, rows in self._columns.items():
            value = values.get(column)
            if isinstance(value, str):
                value = self._texts.setdefault(value, len(self._texts))
            rows.append(MISSING_INT if value is None else value)

    def trace(
        self,
        source: Source,
        format_: str,
        columns: Sequence[Column],
        *,
        broken: Iterable[tuple[str, int]] = (),
        devices: tuple[Device, ...] = (),
        header: Mapping[str, Any] | None = None,
    ) -> Trace:
        """Return the trace; ``broken`` is what was wrong with the JSON, as kind and offset.

        Raises:
            UnreadableTraceError: It breaks off before its first record.
        """
        broken = [*source.defects, *broken]
        for kind, offset in broken:
            self.defects.add(kind, 1, offset)
        if not len(self) and any(kind != "trailing_data" for kind, _ in broken):
            message = f"{source.label} breaks off before its first event: copy it again, or record a shorter trace"
            raise UnreadableTraceError(message)
        if not len(self):
            self.defects.add("no_events")
        table, earliest_ns = self._table(columns)
        threads = list(self._threads)
        if len(threads) > _MOST_THREADS:
            threads = [*threads[:_MOST_THREADS], Thread("", "", "all other threads")]
        return Trace(
            path=source.label,
            format=format_,
            epoch_ns=earliest_ns,
            clock=clock_of(earliest_ns),
            columns=table,
            strings=Strings([name.encode("utf-8", "replace") for name in self._texts]),
            threads=tuple(threads),
            devices=devices,
            rank=None,
            world_size=None,
            events=len(self),
            defects=self.defects.sorted(),
            header=header or {},
        )

    def _table(self, columns: Sequence[Column]) -> tuple[dict[str, Any], int]:
        rows = Rows(columns)
        if len(self):
            read = {name: np.frombuffer(values, np.int64) for name, values in self._columns.items()}
            for name in _TEXTS:
                read[name] = np.where(read[name] == MISSING_INT, MISSING_SMALL, read[name]).astype(np.int32)
            category = read.pop("category").astype(np.uint8)
            rows.add(category, **read)
        return rows.table(self.defects)
