"""Writes a recording as an Nsight Systems export, in the schemas of several years.

What that form cannot carry is not there: Python stack rows, `External id`s, and the arguments of collectives. Operators
and annotations are NVTX ranges, as `torch.autograd.profiler.emit_nvtx` pushes them.
"""

from __future__ import annotations

import collections
import copy
import random
import re
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.simulator.host import Row
from tests.simulator.kineto import EPOCH_NS
from tests.simulator.machine import Activity
from tests.simulator.nsight_schema import NEW_METADATA, TABLES, Version, columns_of, create

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.simulator.machine import Machine

HOST_VM: Final = 1 << 48
ALL_STREAMS: Final = 2**32 - 1
RANGE, START_END_RANGE, DOMAIN = 59, 60, 75
WARNING, INFORMATION = 2, 1
COPY_KINDS: Final = {"HtoD": 1, "DtoH": 2, "DtoD": 8, "PtoP": 10}
MEMORY_KINDS: Final = {"Pageable": 0, "Pinned": 1, "Device": 2}
SYNC_KINDS: Final = {"EventSynchronize": 1, "StreamWaitEvent": 2, "StreamSynchronize": 3, "DeviceSynchronize": 4}
SUFFIXES: Final = {"LaunchKernel": "_v7000", "GraphLaunch": "_v10000", "StreamIsCapturing": "_v10000"}

Record = dict[str, Any]


@dataclass(frozen=True)
class Export:
    """How a recording is exported.

    Attributes:
        schema: The version of the schema, 2.9 to 3.25.
        nvtx: `inline` has each range's text in its row, `registered` has it in StringIds, `both` takes turns.
        emitted: Ranges have the op_id that `emit_nvtx` writes; else they are just named.
        start_end: Annotations are start/end ranges, which may end on any thread, not push/pop ranges.
        suffixes: Runtime calls carry the version of their signature.
        memory_kinds: Copies say what memory they read and wrote.
        start_time: The absolute time of the session's start is known.
        earlier_ns: The session began this long before the recording.
        empty_tables: Tables without rows are there.
        shuffled: Seed of a shuffle of the rows.
        environment: Variables of the recorded process.
        diagnostics: Messages of the profiler, by severity.
        epoch_ns: The absolute time of the machine's beginning.
    """

    schema: Version = (3, 25, 0)
    nvtx: str = "inline"
    emitted: bool = True
    start_end: bool = False
    suffixes: bool = True
    memory_kinds: bool = True
    start_time: bool = True
    earlier_ns: int = 0
    empty_tables: bool = False
    shuffled: int | None = None
    environment: tuple[tuple[str, str], ...] = ()
    diagnostics: tuple[tuple[int, str], ...] = ((INFORMATION, "CUDA injection initialized successfully."),)
    epoch_ns: int = EPOCH_NS


EXPORTS: Final = (
    Export(),
    Export((3, 20, 2), nvtx="registered", earlier_ns=15_000_000, diagnostics=((WARNING, "Not all CUDA events."),)),
    Export((3, 13, 2), nvtx="both", shuffled=3, emitted=False),
    Export((3, 6, 0), suffixes=False, start_end=True, empty_tables=True),
    Export((2, 9, 1), nvtx="registered", earlier_ns=7, shuffled=11),
)
"""One of each age."""


class Names:
    """StringIds: each text once."""

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        """The id of a text."""
        return self.ids.setdefault(text, len(self.ids) + 17)


class Exporter:
    """Collects the rows of all tables of one recording."""

    def __init__(self, machine: Machine, export: Export) -> None:
        self.machine, self.export = machine, export
        self.names = Names()
        self.tables: dict[str, list[Record]] = collections.defaultdict(list)
        self.process_of_device = {d: p.program.pid for p in machine.processes for d in p.program.devices}

    def time(self, ns: int) -> int:
        """A time of the machine, since the session's start."""
        return ns + self.export.earlier_ns

    def host_row(self, row: Row) -> None:
        """A row of a host thread, in the table that it belongs to."""
        if row.category in ("cuda_runtime", "cuda_driver"):
            self._call(row)
        elif row.category == "overhead":
            self._put("PROFILER_OVERHEAD", row, nameId=self.names(row.name), returnValue=0, overheadType=1)
        elif row.category in ("cpu_op", "user_annotation"):
            self._range(row)

    def _put(self, table: str, row: Row, **values: object) -> None:
        where: Record = {
            "start": self.time(row.start),
            "end": self.time(row.end),
            "globalTid": global_tid(row.pid, row.tid),
        }
        self.tables[table].append(where | values)

    def _call(self, row: Row) -> None:
        name = row.name
        if self.export.suffixes and row.category == "cuda_runtime":
            name += SUFFIXES.get(name.removeprefix("cuda"), "_v3020")
        link: Record = {"correlationId": row.correlation, "nameId": self.names(name), "returnValue": 0}
        self._put("CUPTI_ACTIVITY_KIND_RUNTIME", row, eventClass=int(row.category == "cuda_driver"), **link)
        kind = SYNC_KINDS.get(row.name.removeprefix("cuda"))
        if kind is not None:
            record: Record = {
                "start": self.time(row.start),
                "end": self.time(row.end),
                "contextId": 1,
                "syncType": kind,
            }
            record |= {"deviceId": next(d for d, pid in self.process_of_device.items() if pid == row.pid)}
            record |= {"streamId": 7 if kind in (2, 3) else ALL_STREAMS, "globalPid": global_tid(row.pid, 0)}
            record |= {"correlationId": row.correlation, "eventId": ALL_STREAMS, "eventSyncId": 0}
            self.tables["CUPTI_ACTIVITY_KIND_SYNCHRONIZATION"].append(record)

    def _range(self, row: Row) -> None:
        place = len(self.tables["NVTX_EVENTS"])
        text = f"{row.name}, op_id = {place}" if self.export.emitted else row.name
        registered = self.export.nvtx == "registered" or (self.export.nvtx == "both" and place % 2)
        apart = self.export.start_end and row.category == "user_annotation"
        values: Record = {"eventType": START_END_RANGE if apart else RANGE, "domainId": 0}
        values |= {"textId": self.names(text)} if registered else {"text": text}
        if apart:
            values |= {"rangeId": place + 1, "endGlobalTid": global_tid(row.pid, row.tid)}
        self._put("NVTX_EVENTS", row, **values)

    def activity(self, row: Row) -> None:
        """A row of device work, in its table."""
        place: Record = {"start": self.time(row.start), "end": self.time(row.end), "deviceId": row.pid, "contextId": 1}
        place |= {"greenContextId": 0, "streamId": row.tid, "correlationId": row.correlation}
        place["globalPid"] = global_tid(self.process_of_device[row.pid], 0)
        if row.category == "gpu_memcpy":
            source, _, target = row.name.partition("(")[2].rstrip(")").partition(" -> ")
            known = self.export.memory_kinds
            place |= {"bytes": row.args.get("bytes"), "copyKind": COPY_KINDS[row.name.split()[1]], "copyCount": 1}
            place |= {
                "srcKind": MEMORY_KINDS[source] if known else None,
                "dstKind": MEMORY_KINDS[target] if known else None,
            }
            self.tables["CUPTI_ACTIVITY_KIND_MEMCPY"].append(place)
        elif row.category == "gpu_memset":
            self.tables["CUPTI_ACTIVITY_KIND_MEMSET"].append(
                place | {"value": 0, "bytes": row.args.get("bytes"), "memKind": 2}
            )
        elif row.name.startswith("CUDA graph"):
            self.tables["CUPTI_ACTIVITY_KIND_GRAPH_TRACE"].append(
                place | {"graphId": row.args["graph id"], "graphExecId": 4}
            )
        else:
            self.tables["CUPTI_ACTIVITY_KIND_KERNEL"].append(place | self._kernel(row))

    def _kernel(self, row: Row) -> Record:
        short = re.sub(r"<.*|\(.*", "", row.name.removeprefix("void ")).rpartition("::")[2] or row.name
        values: Record = {"demangledName": self.names(row.name), "shortName": self.names(short)}
        values |= dict.fromkeys(("gridY", "gridZ", "blockY", "blockZ"), 1)
        values |= {"gridX": 8 * len(row.name), "blockX": 128, "registersPerThread": 32, "launchType": 1, "gridId": 1}
        values |= dict.fromkeys(("staticSharedMemory", "dynamicSharedMemory", "localMemoryPerThread"), 0)
        node = row.args.get("graph node id")
        values |= {"graphNodeId": node, "graphId": None if node is None else row.args["graph id"]}
        return values | {"localMemoryTotal": 0, "tensorSizeMinusOneElements": "[]"}

    def describe(self) -> None:
        """The tables about the recording: processes, threads, devices, times and settings."""
        export = self.export
        for process in self.machine.processes:
            pid = process.program.pid
            self.tables["PROCESSES"].append({"globalPid": global_tid(pid, 0), "pid": pid, "name": "python"})
            for device in process.program.devices:
                gpu = {"vmId": HOST_VM, "id": device, "name": "Simulated GPU", "smCount": 132}
                self.tables["TARGET_INFO_GPU"].append(gpu | {"totalMemory": 85_000_000_000, "uuid": f"gpu-{device}"})
        if export.start_time:
            start = {"utcEpochNs": export.epoch_ns - export.earlier_ns, "systemClockNs": 38_133_239_887}
            self.tables["TARGET_INFO_SESSION_START_TIME"].append(start | {"utcTime": "", "localTime": ""})
        for severity, text in export.diagnostics:
            message = {"timestamp": 0, "timestampType": 1, "source": 3, "severity": severity, "text": text}
            self.tables["DIAGNOSTIC_EVENT"].append(message | {"globalPid": HOST_VM})
        self._metadata()

    def _metadata(self) -> None:
        parts = dict(zip(("MAJOR", "MINOR", "MICRO"), self.export.schema, strict=True))
        exported = {"EXPORT_PRODUCT_NAME": "NVIDIA Nsight Systems", "EXPORT_PRODUCT_VERSION": "2021.3.1.54"}
        exported |= {"EXPORT_SCHEMA_VERSION": ".".join(map(str, self.export.schema))}
        exported |= {f"EXPORT_SCHEMA_VERSION_{part}": str(number) for part, number in parts.items()}
        captured = [("CAPTURE_EVENT_TYPE", "Cuda"), ("CAPTURE_EVENT_TYPE", "NvtxEvents")]
        captured += [("PROCESS_0:ENVIRONMENT_VARIABLE", f'{k}="{v}"') for k, v in self.export.environment]
        rows = [{"name": name, "value": value} for name, value in exported.items()]
        more = [{"name": name, "value": value} for name, value in captured]
        if self.export.schema < NEW_METADATA:
            self.tables["EXPORT_META_DATA"] += rows + more
        else:
            self.tables["META_DATA_EXPORT"] += rows
            self.tables["META_DATA_CAPTURE"] += more


def global_tid(pid: int, tid: int) -> int:
    """A thread as Nsight numbers it; of thread 0, the process."""
    return HOST_VM | pid << 24 | tid


def rows_of(machine: Machine, export: Export) -> dict[str, list[Record]]:
    """The rows of every table, StringIds included."""
    exporter = Exporter(machine, export)
    for row in machine.rows:
        exporter.host_row(row)
    for activity in machine.activities:
        exporter.activity(activity.row)
    exporter.describe()
    tables = dict(exporter.tables)
    if export.shuffled is not None:
        for rows in tables.values():
            random.Random(export.shuffled).shuffle(rows)
    return tables | {"StringIds": [{"id": number, "value": text} for text, number in exporter.names.ids.items()]}


def write_tables(path: Path, tables: Mapping[str, list[Record]], export: Export) -> None:
    """Writes a database anew; its rows lie in the order given."""
    path.unlink(missing_ok=True)
    with sqlite3.connect(path, isolation_level=None) as database:
        database.execute("PRAGMA synchronous=OFF")
        database.execute("PRAGMA journal_mode=OFF")
        database.execute("BEGIN")
        for table in TABLES:
            rows = tables.get(table, [])
            if rows or export.empty_tables:
                columns = columns_of(table, export.schema)
                database.execute(create(table, export.schema))
                marks = ", ".join("?" * len(columns))
                database.executemany(
                    f"INSERT INTO {table} VALUES ({marks})",
                    ([row.get(column) for column in columns] for row in rows),
                )
        database.execute("COMMIT")
    database.close()


def write(machine: Machine, path: Path, export: Export | None = None) -> None:
    """Writes a recording of a CUDA workload as a sqlite export."""
    if machine.workload.vendor != "cuda":
        raise ValueError("Nsight Systems records CUDA only")
    export = export or Export()
    write_tables(path, rows_of(machine, export), export)


def without_stacks(machine: Machine) -> Machine:
    """The same recording without Python stack rows, which no Nsight export has."""
    reduced = copy.copy(machine)
    reduced.rows = [row for row in machine.rows if row.category != "python_function"]
    return reduced


def with_whole_graphs(machine: Machine) -> Machine:
    """The same recording with one activity for each graph launch, as `--cuda-graph-trace=graph` sees it."""
    reduced = copy.copy(machine)
    reduced.activities = []
    nodes: dict[tuple[int, int | None], list[Activity]] = collections.defaultdict(list)
    for activity in machine.activities:
        if "graph node id" in activity.row.args:
            nodes[activity.row.pid, activity.row.correlation].append(activity)
        else:
            reduced.activities.append(activity)
    for members in nodes.values():
        first, launch = members[0], members[0].launch
        start, end = min(a.row.start for a in members), max(a.row.end for a in members)
        row = Row("kernel", "CUDA graph 3", start, end, first.row.pid, first.row.tid, first.row.correlation)
        row.external, row.step, row.args = first.row.external, first.row.step, {"graph id": 3}
        reduced.activities.append(Activity(row, first.kind, launch, first.thread, first.step))
    return reduced
