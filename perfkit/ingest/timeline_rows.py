"""The rows of a timeline: host threads and device streams, found from the process and thread keys of the events."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from perfkit.model.columns import MISSING_SMALL
from perfkit.model.trace import Thread

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

__all__ = ["device_and_stream_of", "threads_of"]

Metadata = tuple[bytes, bytes, bytes, bytes]

_DENSE_PAIRS: Final = 1 << 22
"""Up to this many possible (process, thread) pairs, a table of all of them is cheaper than a sort of the rows."""

_MOST_THREADS: Final = 1 << 20
"""Beyond this many, which no profiler writes, the rest are one thread: a Thread is an object, a row is not."""

_DEVICE: Final = re.compile(r"(?:device\s*)?([0-9]{1,9})\Z", re.IGNORECASE)
_STREAM: Final = re.compile(r"(?:(?:stream|cuda api)\s*)?([0-9]{1,9})\Z", re.IGNORECASE)


def threads_of(
    process: NDArray[np.int32], thread: NDArray[np.int32], strings: Sequence[bytes], metadata: Iterable[Metadata]
) -> tuple[NDArray[np.int32], tuple[Thread, ...]]:
    """Number the distinct pairs of process and thread key.

    Args:
        process: Index of each row's process key in `strings`, or negative; overwritten.
        thread: Index of each row's thread key in `strings`, or negative; overwritten, and returned.
        strings: The string table.
        metadata: Metadata events: name, process key, thread key, arguments as JSON text.

    Returns:
        The thread of each row, and the threads.
    """
    processes = _compact(process, len(strings))
    keys = _compact(thread, len(strings))
    pairs = _number_pairs(process, thread, len(processes), len(keys))
    names = _Names(metadata)
    text = [*strings_at(strings, processes)], [*strings_at(strings, keys)]
    found = tuple(
        names.thread(text[0][pair // len(keys)], text[1][pair % len(keys)]) for pair in pairs[:_MOST_THREADS].tolist()
    )
    if len(pairs) > _MOST_THREADS:
        np.minimum(thread, _MOST_THREADS, out=thread)
        found = (*found, Thread("", "", "all other threads"))
    return thread, found


def strings_at(strings: Sequence[bytes], indices: Sequence[int]) -> Iterable[bytes]:
    """Yield the strings at `indices`; one past the end stands for an absent value and is empty."""
    return (strings[index] if index < len(strings) else b"" for index in indices)


def _compact(column: NDArray[np.int32], size: int) -> list[int]:
    """Renumber the values of `column` in place to 0, 1, ... in ascending order; return them, absent ones as `size`."""
    np.maximum(column, -1, out=column)
    seen = np.zeros(size + 1, dtype=bool)
    seen[column] = True  # -1 is the last element
    present = np.flatnonzero(seen)
    number = np.zeros(size + 1, dtype=np.int32)
    number[present] = np.arange(len(present), dtype=np.int32)
    np.take(number, column, out=column, mode="wrap")
    values: list[int] = present.tolist()
    return values


def _number_pairs(
    process: NDArray[np.int32], thread: NDArray[np.int32], processes: int, keys: int
) -> NDArray[np.int64]:
    """Replace `thread` by the number of the pair (process, thread); return the pairs as ``process * keys + thread``."""
    if processes * keys > _DENSE_PAIRS:
        pairs, inverse = np.unique(process.astype(np.int64) * keys + thread, return_inverse=True)
        thread[:] = inverse.reshape(-1)
        distinct: NDArray[np.int64] = pairs
        return distinct
    np.multiply(process, keys, out=process)
    np.add(process, thread, out=process)
    values = _compact(process, processes * keys)
    thread[:] = process
    return np.array(values, dtype=np.int64)


class _Names:
    """What the metadata events call processes and threads."""

    def __init__(self, metadata: Iterable[Metadata]) -> None:
        self._threads: dict[tuple[bytes, bytes], str] = {}
        self._labels: dict[bytes, str] = {}
        for name, process, thread, arguments in metadata:
            if name == b"thread_name":
                self._threads[process, thread] = _argument(arguments, "name")
            elif name == b"process_labels":
                self._labels[process] = _argument(arguments, "labels")

    def thread(self, process: bytes, key: bytes) -> Thread:
        """Name one thread: ``thread 7 (loader)`` on the host, ``GPU 0 stream 7`` on a device."""
        key_text = key.decode("utf-8", "replace")
        name = self._threads.get((process, key)) or (f"thread {key_text}" if key_text.isdigit() else key_text)
        label = self._labels.get(process, "")
        if label not in ("", "CPU") and label not in name:
            name = f"{label} {name}"
        return Thread(process.decode("utf-8", "replace"), key_text, name)


def _argument(arguments: bytes, key: str) -> str:
    """Return one text of a metadata event's arguments, or the empty string."""
    try:
        values = json.loads(arguments.decode("utf-8", "replace"), strict=False)
    except (ValueError, RecursionError):
        return ""
    value = values.get(key) if isinstance(values, dict) else None
    return value.strip() if isinstance(value, str) else ""


def device_and_stream_of(threads: Sequence[Thread]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Read the device from the process key ("0", "Device 0") and the stream from the thread key ("7", "stream 7").

    Returns:
        Two int32 arrays, one element a thread; `MISSING_SMALL` where the key says nothing.
    """
    devices = np.full(len(threads), MISSING_SMALL, dtype=np.int32)
    streams = np.full(len(threads), MISSING_SMALL, dtype=np.int32)
    for index, thread in enumerate(threads):
        if match := _DEVICE.match(thread.process):
            devices[index] = int(match[1])
        if match := _STREAM.match(thread.key):
            streams[index] = int(match[1])
    return devices, streams
