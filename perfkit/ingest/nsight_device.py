"""The device's part of an Nsight Systems file: kernels, copies, memsets, whole graphs and synchronization records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from perfkit.ingest.nsight_names import copy_name, memory_kind
from perfkit.model.columns import MISSING_INT
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from perfkit.ingest.database import Database
    from perfkit.ingest.defects import DefectList
    from perfkit.ingest.nsight_names import Names
    from perfkit.ingest.nsight_rows import Rows, Threads

    Columns = dict[str, NDArray[Any]]

__all__ = ["KERNELS", "add_device_rows"]

KERNELS: Final = "CUPTI_ACTIVITY_KIND_KERNEL"
_COPIES: Final = "CUPTI_ACTIVITY_KIND_MEMCPY"
_MEMSETS: Final = "CUPTI_ACTIVITY_KIND_MEMSET"
_GRAPHS: Final = "CUPTI_ACTIVITY_KIND_GRAPH_TRACE"
_WAITS: Final = "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION"

_PLACE: Final = ("start", "end", "deviceId", "contextId", "streamId", "correlationId", "globalPid")
_AXES: Final = ("X", "Y", "Z")

_WAIT_NAMES: Final = {1: "Event Sync", 2: "Stream Wait Event", 3: "Stream Sync", 4: "Context Sync"}

_ALL_STREAMS: Final = 2**32 - 1
_ON_HOST: Final = 2**31 - 1
"""The device of a graph that was launched but not timed."""


def add_device_rows(database: Database, names: Names, threads: Threads, rows: Rows, defects: DefectList) -> int:
    """Add what ran on devices, and the records of waiting for it; return how many rows are work of a device."""
    before = rows.count
    _add_kernels(database, names, threads, rows)
    _add_copies(database, names, threads, rows)
    _add_memsets(database, names, threads, rows)
    _add_graphs(database, names, threads, rows, defects)
    work = rows.count - before
    _add_waits(database, names, threads, rows)
    return work


def _read(database: Database, table: str, more: Sequence[str] = ()) -> Columns:
    return database.read(table, (*_PLACE, *dict.fromkeys(more)))


def _placed(read: Columns, threads: Threads) -> Columns:
    """Return the columns that every row of a device has."""
    stream = np.where(read["streamId"] == _ALL_STREAMS, -1, read["streamId"])
    return {
        "start": read["start"],
        "end": read["end"],
        "thread": threads.streams(read["deviceId"], stream, read["globalPid"]),
        "device": read["deviceId"],
        "stream": stream,
        "context": read["contextId"],
        "correlation": read["correlationId"],
    }


def _add_kernels(database: Database, names: Names, threads: Threads, rows: Rows) -> None:
    shape = [f"{what}{axis}" for what in ("grid", "block") for axis in _AXES if rows.wants(what)]
    single = [name for name, column in (("registersPerThread", "registers"),) if rows.wants(column)]
    memory = ["staticSharedMemory", "dynamicSharedMemory"] if rows.wants("shared_memory") else []
    wanted = ("demangledName", "shortName", "graphNodeId", "graphId", *shape, *single, *memory)
    read = _read(database, KERNELS, wanted)
    name = names.of_ids(read["demangledName"])
    columns = _placed(read, threads) | {
        "name": np.where(name >= 0, name, names.of_ids(read["shortName"])),
        "graph_node": read["graphNodeId"],
        "graph_id": read["graphId"],
    }
    for what in ("grid", "block"):
        if rows.wants(what):
            columns[what] = names.of_rows(*(read[f"{what}{axis}"] for axis in _AXES), text=_extent)
    if single:
        columns["registers"] = read["registersPerThread"]
    if memory:
        columns["shared_memory"] = np.maximum(read[memory[0]], 0) + np.maximum(read[memory[1]], 0)
    rows.add(Category.KERNEL, **columns)


def _extent(x: int, y: int, z: int) -> str:
    return f"[{x}, {y}, {z}]"


def _add_copies(database: Database, names: Names, threads: Threads, rows: Rows) -> None:
    read = _read(database, _COPIES, ("bytes", "copyKind", "srcKind", "dstKind", "graphNodeId"))
    kinds = (read["copyKind"], read["srcKind"], read["dstKind"])
    columns = _placed(read, threads) | {
        "name": names.of_rows(*kinds, text=lambda *kind: copy_name(*kind)[0]),
        "bytes": read["bytes"],
        "graph_node": read["graphNodeId"],
    }
    if rows.wants("copy_kind"):
        columns["copy_kind"] = names.of_rows(*kinds, text=lambda *kind: copy_name(*kind)[1])
    rows.add(Category.MEMCPY, **columns)


def _add_memsets(database: Database, names: Names, threads: Threads, rows: Rows) -> None:
    read = _read(database, _MEMSETS, ("bytes", "memKind", "graphNodeId"))
    columns = _placed(read, threads) | {
        "name": names.of_rows(read["memKind"], text=lambda kind: f"Memset ({memory_kind(kind) or 'Device'})"),
        "bytes": read["bytes"],
        "graph_node": read["graphNodeId"],
    }
    rows.add(Category.MEMSET, **columns)


def _add_graphs(database: Database, names: Names, threads: Threads, rows: Rows, defects: DefectList) -> None:
    """Add launches of CUDA graphs that were recorded as a whole; one that was not timed is counted."""
    read = _read(database, _GRAPHS, ("graphId",))
    timed = (read["end"] > 0) & (read["deviceId"] != _ON_HOST)
    defects.add("graph_level_capture", len(timed))
    defects.add("activity_without_timestamps", len(timed) - int(np.count_nonzero(timed)))
    read = {name: column[timed] for name, column in read.items()}
    columns = _placed(read, threads) | {
        "name": names.of_rows(
            read["graphId"], text=lambda graph: f"CUDA graph {graph if graph != MISSING_INT else '?'}"
        ),
        "graph_id": read["graphId"],
    }
    rows.add(Category.KERNEL, **columns)


def _add_waits(database: Database, names: Names, threads: Threads, rows: Rows) -> None:
    read = _read(database, _WAITS, ("syncType", "deprecatedSyncType"))
    kind = np.where(read["syncType"] != MISSING_INT, read["syncType"], read["deprecatedSyncType"])
    columns = _placed(read, threads) | {
        "name": names.of_rows(kind, text=lambda number: _WAIT_NAMES.get(number, "Synchronization"))
    }
    rows.add(Category.SYNC_RECORD, **columns)
