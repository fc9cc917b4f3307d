"""Rows of an Nsight Systems export for `slow_attribution`, read with plain SQL; it shares nothing with the package.

Where the format leaves room, this file reads it so:

1.  A host process is the upper bits of a global id (all but the lowest 24); a thread is the whole of it.
2.  An activity belongs to its `globalPid`, on its `deviceId`; its row of the timeline is its stream.
3.  Of NVTX events only those with an end are rows; with `::` in the name, or with `, seq = ` and a number after it,
    they are operators.
4.  A sample lasts until the next one of its thread, but at most twice the median distance of all samples; the last one
    of a thread lasts that median.
5.  A graph that was recorded as a whole is a kernel.
"""

from __future__ import annotations

import collections
import itertools
import re
import sqlite3
import statistics
from typing import TYPE_CHECKING, Any

from tests.slow_attribution import Row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COPY_KINDS = {1: "HtoD", 2: "DtoH", 8: "DtoD", 10: "PtoP"}
SEQUENCE = re.compile(r", seq = \d+")
Values = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """Every interval of the file."""
    with sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True) as database:
        database.row_factory = sqlite3.Row
        texts = {row["id"]: row["value"] for row in table(database, "StringIds")}
        return [
            *activities(database, texts),
            *calls(database, texts),
            *ranges(database, texts),
            *samples(database),
        ]


def table(database: sqlite3.Connection, name: str) -> Iterator[Values]:
    """The rows of a table, none if there is no such table."""
    if database.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)).fetchone():
        yield from map(dict, database.execute(f'SELECT * FROM "{name}"'))


def process_of(global_id: int) -> str:
    """The process of a global id."""
    return str(global_id & ~0xFFFFFF)


def on_host(global_id: int) -> tuple[str, tuple[str, str]]:
    """The process and the thread of a global id."""
    return process_of(global_id), (process_of(global_id), str(global_id))


def activities(database: sqlite3.Connection, texts: dict[int, str]) -> Iterator[Row]:
    """Kernels, copies, memsets and graphs."""
    for kind, category in (("KERNEL", "kernel"), ("MEMCPY", "gpu_memcpy"), ("MEMSET", "gpu_memset")):
        for row in table(database, f"CUPTI_ACTIVITY_KIND_{kind}"):
            if kind == "KERNEL":
                name = texts[row["demangledName"]]
            elif kind == "MEMCPY":
                name = f"Memcpy {COPY_KINDS.get(row['copyKind'], row['copyKind'])}"
            else:
                name = "Memset"
            yield activity(row, name, category)
    for row in table(database, "CUPTI_ACTIVITY_KIND_GRAPH_TRACE"):
        if row["end"] > 0:
            yield activity(row, f"CUDA graph {row['graphId']}", "kernel")


def activity(row: Values, name: str, category: str) -> Row:
    """One activity."""
    device, stream = str(row["deviceId"]), str(row["streamId"])
    args = {"device": device, "stream": stream, "correlation": row["correlationId"]}
    return Row(
        name, category, row["start"], row["end"], device, (device, stream), args, owner=process_of(row["globalPid"])
    )


def calls(database: sqlite3.Connection, texts: dict[int, str]) -> Iterator[Row]:
    """Calls of the runtime and of the operating system, and the profiler's own work."""
    for name, category in (
        ("CUPTI_ACTIVITY_KIND_RUNTIME", "cuda_runtime"),
        ("OSRT_API", "os_call"),
        ("PROFILER_OVERHEAD", "overhead"),
    ):
        for row in table(database, name):
            args = {"correlation": row["correlationId"]} if row.get("correlationId") is not None else {}
            yield Row(texts[row["nameId"]], category, row["start"], row["end"], *on_host(row["globalTid"]), args)


def ranges(database: sqlite3.Connection, texts: dict[int, str]) -> Iterator[Row]:
    """NVTX ranges."""
    for row in table(database, "NVTX_EVENTS"):
        if row["eventType"] not in (59, 60) or row["end"] is None:
            continue
        text = row["text"] if row["text"] is not None else texts[row["textId"]]
        name = SEQUENCE.split(text)[0]
        category = "cpu_op" if "::" in name or SEQUENCE.search(text) else "user_annotation"
        yield Row(name, category, row["start"], row["end"], *on_host(row["globalTid"]), {})


def samples(database: sqlite3.Connection) -> Iterator[Row]:
    """Samples of the processor."""
    of_thread: dict[int, list[int]] = collections.defaultdict(list)
    for row in table(database, "COMPOSITE_EVENTS"):
        of_thread[row["globalTid"]].append(row["start"])
    for starts in of_thread.values():
        starts.sort()
    distances = [b - a for starts in of_thread.values() for a, b in itertools.pairwise(starts) if b > a]
    period = int(statistics.median(distances)) if distances else 0
    for thread, starts in of_thread.items():
        for start, following in zip(starts, [*starts[1:], starts[-1] + period], strict=True):
            yield Row("sample", "cpu_sample", start, min(following, start + 2 * period), *on_host(thread), {})
