"""The rows of a trace, gathered table by table, and the threads and streams that they are on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from perfkit.ingest.distinct import distinct, distinct_rows
from perfkit.ingest.event_times import ends, rows_with_a_time, shift_to_zero
from perfkit.model.columns import MISSING_INT
from perfkit.model.trace import Category, Thread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from perfkit.ingest.defects import DefectList
    from perfkit.model.columns import Column

    Ints = NDArray[np.int64]
    Columns = dict[str, NDArray[Any]]

__all__ = ["Rows", "Threads", "process_of", "thread_of"]

_ID_BITS: Final = 24
_ID_MASK: Final = (1 << _ID_BITS) - 1

_ALL_STREAMS: Final = 2**32 - 1
"""The stream of what concerns all streams of a context; Kineto has -1."""

_MOST_THREADS: Final = 1 << 20
"""Beyond this many, which no machine runs, the rest are one thread: a Thread is an object, a row is not."""


def process_of(global_id: int) -> int:
    """Return the process id in a serialized global id."""
    return global_id >> _ID_BITS & _ID_MASK


def thread_of(global_id: int) -> int:
    """Return the thread id in a serialized global id."""
    return global_id & _ID_MASK


class Threads:
    """Numbers the host threads and the streams of devices in the order in which they are met."""

    def __init__(self, names: Mapping[int, str]) -> None:
        """Take the names of host threads, by global id."""
        self.found: list[Thread] = []
        self._names = names
        self._numbers: dict[tuple[int, int, int], int] = {}
        self._processes: dict[str, int] = {}

    def hosts(self, global_ids: Ints) -> NDArray[np.int32]:
        """Return the number of the host thread of each row."""
        found, row = distinct(global_ids)
        return np.array([self._number((0, 0, value), self._host) for value in found.tolist()], np.int32)[row]

    def streams(self, device: Ints, stream: Ints, global_ids: Ints) -> NDArray[np.int32]:
        """Return the number of the stream of each row; streams of several processes are several."""
        stream = np.where(stream == _ALL_STREAMS, -1, stream)
        lanes, row = distinct_rows((global_ids & ~_ID_MASK, device, stream))
        places = zip(*(column.tolist() for column in lanes), strict=True)
        numbers = [self._number((1 + gpu, lane, process), self._stream) for process, gpu, lane in places]
        return np.array(numbers, np.int32)[row]

    def process(self, global_id: int) -> str:
        """Return the key of a process: its id, or more where two machines of one recording use the same."""
        whole = global_id & ~_ID_MASK
        key = str(process_of(global_id))
        while self._processes.setdefault(key, whole) != whole:
            key += "'"
        return key

    def _number(self, place: tuple[int, int, int], make: Any) -> int:
        number = self._numbers.get(place)
        if number is None:
            number = len(self.found)
            if number < _MOST_THREADS:
                self.found.append(make(place))
            elif number == _MOST_THREADS:
                self.found.append(Thread("", "", "all other threads"))
            else:
                number = _MOST_THREADS
            self._numbers[place] = number
        return number

    def _host(self, place: tuple[int, int, int]) -> Thread:
        global_id = place[2]
        if global_id == MISSING_INT:
            return Thread("", "", "unknown thread")
        key = str(thread_of(global_id))
        name = self._names.get(global_id, "")
        return Thread(self.process(global_id), key, f"thread {key} ({name})" if name else f"thread {key}")

    def _stream(self, place: tuple[int, int, int]) -> Thread:
        device, stream, global_id = place[0] - 1, place[1], place[2]
        owner = "" if global_id == MISSING_INT & ~_ID_MASK else self.process(global_id)
        return Thread(str(device), str(stream), f"GPU {device} stream {stream}", owner)


class Rows:
    """Pieces of the columns of a trace; a column that a piece does not have is absent in its rows."""

    def __init__(self, columns: Sequence[Column]) -> None:
        """Take the columns that are wanted beside the six that every row has."""
        self._missing: dict[str, int] = {column.name: column.missing for column in columns if column.place == "args"}
        self._parts: dict[str, list[NDArray[Any]]] = {}
        self._lengths: list[int] = []

    @property
    def count(self) -> int:
        """Return how many rows there are so far."""
        return sum(self._lengths)

    def wants(self, *names: str) -> bool:
        """Tell whether one of these columns is wanted."""
        return any(name in self._missing for name in names)

    def add(self, category: Category | NDArray[np.uint8], **columns: NDArray[Any]) -> None:
        """Add rows: ``start``, ``end``, ``name``, ``thread``, and what else is known of them."""
        count = len(columns["start"])
        codes = np.full(count, category, np.uint8) if isinstance(category, Category) else category
        for name, dtype in (("start", np.int64), ("end", np.int64), ("name", np.int32), ("thread", np.int32)):
            self._parts.setdefault(name, []).append(columns[name].astype(dtype, copy=False))
        self._parts.setdefault("category", []).append(codes)
        for name, missing in self._missing.items():
            column = columns.get(name)
            part = np.full(count, missing, np.int64) if column is None else column
            if missing != MISSING_INT:
                part = np.where((part > missing) & (part < -missing), part, missing).astype(np.int32)
            self._parts.setdefault(name, []).append(part)
        self._lengths.append(count)

    def table(self, defects: DefectList) -> tuple[Columns, int]:
        """Put the pieces together, on a clock that starts with the earliest row; return that row's time, too."""
        names = [name for name in self._parts if name != "end"]
        columns = {name: self._taken(name) for name in names}
        end = self._taken("end") if self._lengths else np.empty(0, np.int64)
        if not self._lengths:
            columns = {name: np.empty(0, np.int32) for name in ("name", "thread", *self._missing)}
            columns |= {"start": np.empty(0, np.int64), "category": np.empty(0, np.uint8)}
        keep = columns["start"] != MISSING_INT
        defects.add("event_without_time", len(keep) - int(np.count_nonzero(keep)))
        columns, end = _kept(columns, keep), end[keep]
        near = rows_with_a_time(columns["start"], columns["category"], defects)
        if near is not None:
            columns, end = _kept(columns, near), end[near]
        start = columns["start"]
        duration = _durations(start, end)
        earliest_ns = shift_to_zero(start)
        columns["end"] = ends(start, duration, columns["category"], defects)
        order = ("start", "end", "name", "category", "thread", *self._missing)
        return {name: columns[name] for name in order}, earliest_ns

    def _taken(self, name: str) -> NDArray[Any]:
        parts = self._parts.pop(name)
        return np.concatenate(parts)


def _kept(columns: Columns, keep: NDArray[np.bool_]) -> Columns:
    return columns if keep.all() else {name: column[keep] for name, column in columns.items()}


def _durations(start: Ints, end: Ints) -> Ints:
    """Return end minus start, without an overflow: an end beyond reach is cut to one that is still beyond it."""
    if not len(start):
        return np.empty(0, np.int64)
    low = max(int(start.min()) - 1, MISSING_INT + 1)
    high = min(int(start.max()) + 2**61 + 1, 2**63 - 1)
    return np.where(end == MISSING_INT, MISSING_INT, np.clip(end, low, high) - start)
