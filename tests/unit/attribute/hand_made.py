"""Traces made by hand: rows as plain data, put together without any file. All times are ns."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from perfkit.model.columns import COLUMNS, DEFAULT_FIELDS
from perfkit.model.trace import Category, Strings, Thread, Trace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from perfkit.model.trace import Device

Value = int | str

LAUNCH = "cudaLaunchKernel"
HOST = "9"
MS = 1_000_000

COLUMN = {column.name: column for column in COLUMNS}


@dataclass(frozen=True)
class Row:
    """One event: where it is in the timeline, and the fields that differ from "absent"."""

    category: Category
    name: str
    start: int
    end: int
    process: str = HOST
    thread: str = "1"
    fields: Mapping[str, Value] = field(default_factory=dict)
    owner: str = ""


def host(
    category: Category,
    name: str,
    start: int,
    end: int,
    *,
    thread: str = "1",
    process: str = HOST,
    **fields: Value,
) -> Row:
    """An event of a host thread."""
    return Row(category, name, start, end, process, thread, fields)


def operator(name: str, start: int, end: int, *, thread: str = "1", process: str = HOST, **fields: Value) -> Row:
    """An operator."""
    return Row(Category.OPERATOR, name, start, end, process, thread, fields)


def annotation(name: str, start: int, end: int, *, thread: str = "1", process: str = HOST) -> Row:
    """An annotation."""
    return Row(Category.ANNOTATION, name, start, end, process, thread)


def os_call(name: str, start: int, end: int, *, thread: str = "1", process: str = HOST) -> Row:
    """A call of the operating system."""
    return Row(Category.OS_CALL, name, start, end, process, thread)


def sample(name: str, start: int, end: int, *, thread: str = "1", process: str = HOST, **fields: Value) -> Row:
    """A sample of the processor, from when it was taken to the next."""
    return Row(Category.SAMPLE, name, start, end, process, thread, fields)


def stack(name: str, start: int, end: int, *, thread: str = "1", process: str = HOST) -> Row:
    """A row of a Python stack."""
    return Row(Category.PYTHON, name, start, end, process, thread)


def mark(number: int, start: int, end: int, *, process: str = HOST) -> Row:
    """A step mark of the profiler's schedule."""
    return annotation(f"ProfilerStep#{number}", start, end, process=process)


def loader(start: int, end: int, *, thread: str = "1", workers: bool = False) -> Row:
    """A DataLoader's `__next__`."""
    kind = "_MultiProcessingDataLoaderIter" if workers else "_SingleProcessDataLoaderIter"
    return annotation(f"enumerate(DataLoader)#{kind}.__next__", start, end, thread=thread)


def call(
    name: str,
    start: int,
    end: int,
    *,
    correlation: int | None = None,
    thread: str = "1",
    process: str = HOST,
    **fields: Value,
) -> Row:
    """A runtime call."""
    known = {} if correlation is None else {"correlation": correlation}
    return Row(Category.RUNTIME, name, start, end, process, thread, known | fields)


def work(category: Category, name: str, start: int, end: int, **fields: Value | None) -> Row:
    """An activity of a device; a field that is None is absent."""
    known = {key: value for key, value in fields.items() if value is not None}
    return Row(category, name, start, end, str(known["device"]), str(known["stream"]), known)


def kernel(
    start: int,
    end: int,
    correlation: int | None = None,
    *,
    name: str = "gemm",
    stream: int = 7,
    device: int = 0,
    owner: str = "",
    **fields: Value,
) -> Row:
    """A kernel; `owner` is the process that the format names for its stream."""
    row = work(Category.KERNEL, name, start, end, correlation=correlation, stream=stream, device=device, **fields)
    return replace(row, owner=owner)


def copy(
    start: int,
    end: int,
    correlation: int | None = None,
    *,
    kind: str = "HtoD",
    stream: int = 7,
    device: int = 0,
    **fields: Value,
) -> Row:
    """A copy."""
    return work(
        Category.MEMCPY, f"Memcpy {kind}", start, end, correlation=correlation, stream=stream, device=device, **fields
    )


def memset(start: int, end: int, correlation: int | None = None, *, stream: int = 7, device: int = 0) -> Row:
    """A memset."""
    return work(Category.MEMSET, "Memset (Device)", start, end, correlation=correlation, stream=stream, device=device)


def launched(
    correlation: int,
    call_ns: tuple[int, int],
    kernel_ns: tuple[int, int],
    *,
    thread: str = "1",
    process: str = HOST,
    name: str = "gemm",
    stream: int = 7,
    device: int = 0,
    owner: str = "",
) -> list[Row]:
    """A launch call and its kernel."""
    return [
        call(LAUNCH, *call_ns, correlation=correlation, thread=thread, process=process),
        kernel(*kernel_ns, correlation, name=name, stream=stream, device=device, owner=owner),
    ]


def trace(
    rows: Sequence[Row],
    *,
    columns: Sequence[str] = DEFAULT_FIELDS,
    names: Mapping[tuple[str, str], str] | None = None,
    devices: Sequence[Device] = (),
) -> Trace:
    """Put rows together; `names` are those of threads, by process and thread key."""
    strings: dict[str, int] = {}
    threads: dict[tuple[str, str, str], int] = {}
    table: dict[str, NDArray[Any]] = {
        "start": np.array([row.start for row in rows], np.int64),
        "end": np.array([row.end for row in rows], np.int64),
        "name": np.array([strings.setdefault(row.name, len(strings)) for row in rows], np.int32),
        "category": np.array([row.category for row in rows], np.uint8),
        "thread": np.array([threads.setdefault((r.process, r.thread, r.owner), len(threads)) for r in rows], np.int32),
    }
    for name in columns:
        column = COLUMN[name]
        values = [row.fields.get(name, column.missing) for row in rows]
        numbers = [strings.setdefault(v, len(strings)) if isinstance(v, str) else v for v in values]
        table[name] = np.array(numbers, np.int64 if column.kind == "int" else np.int32)
    return Trace(
        path="hand-made.json",
        format="torch-profiler",
        epoch_ns=0,
        clock="profiler",
        columns=table,
        strings=Strings([text.encode() for text in strings]),
        threads=tuple(
            Thread(process, key, (names or {}).get((process, key), f"thread {key}"), owner)
            for process, key, owner in threads
        ),
        devices=tuple(devices),
        rank=None,
        world_size=None,
        events=len(rows),
        defects=(),
    )
