"""The tables of an Nsight Systems export, and how they drifted: which columns each schema version has.

Told from exports of schema 3.6, 3.13, 3.20 and 3.25, and from what programs that read older ones expect. Columns that
nothing in a recording fills are there all the same, empty, as in the real thing.
"""

from __future__ import annotations

from typing import Final, NamedTuple

Version = tuple[int, int, int]

FIRST: Final[Version] = (0, 0, 0)
NEW_METADATA: Final[Version] = (2, 11, 0)
"""From here on META_DATA_EXPORT and META_DATA_CAPTURE hold what was in EXPORT_META_DATA."""
GREEN: Final[Version] = (3, 11, 0)
SYNC_TYPES: Final[Version] = (3, 18, 0)
CLUSTERS: Final[Version] = (3, 22, 0)


class Column(NamedTuple):
    """A column, the first version that has it, and the first that has it no more."""

    name: str
    since: Version = FIRST
    until: Version | None = None
    type: str = "INTEGER"

    def is_in(self, version: Version) -> bool:
        """Tell whether exports of a version have it."""
        return self.since <= version and (self.until is None or version < self.until)


def _columns(names: str) -> tuple[Column, ...]:
    return tuple(Column(name) for name in names.split())


PLACE: Final = (*_columns("start end deviceId contextId"), Column("greenContextId", GREEN), *_columns("streamId"))
LINK: Final = _columns("correlationId globalPid")
SHAPE: Final = _columns("registersPerThread gridX gridY gridZ blockX blockY blockZ")
MEMORY: Final = _columns("staticSharedMemory dynamicSharedMemory localMemoryPerThread localMemoryTotal gridId")
ENDS: Final = _columns("srcDeviceId srcContextId dstDeviceId dstContextId")
NUMBERS: Final = _columns("uint64Value int64Value doubleValue uint32Value int32Value floatValue jsonTextId")

TABLES: Final[dict[str, tuple[Column, ...]]] = {
    "StringIds": (Column("id", type="INTEGER NOT NULL PRIMARY KEY"), Column("value", type="TEXT")),
    "ThreadNames": _columns("nameId priority globalTid"),
    "PROCESSES": (*_columns("globalPid pid"), Column("name", type="TEXT")),
    "TARGET_INFO_SESSION_START_TIME": (
        Column("utcEpochNs"),
        Column("utcTime", type="TEXT"),
        Column("localTime", type="TEXT"),
        Column("systemClockNs", CLUSTERS),
    ),
    "TARGET_INFO_GPU": (
        *_columns("vmId id"),
        Column("name", type="TEXT"),
        Column("busLocation", type="TEXT"),
        *_columns("isDiscrete l2CacheSize totalMemory memoryBandwidth clockRate smCount pwGpuId"),
        Column("uuid", type="TEXT"),
        *_columns("computeMajor computeMinor"),
    ),
    "CUPTI_ACTIVITY_KIND_KERNEL": (
        *PLACE,
        *LINK,
        *_columns("demangledName shortName mangledName launchType cacheConfig"),
        *SHAPE,
        *MEMORY,
        *_columns("sharedMemoryExecuted graphNodeId sharedMemoryLimitConfig"),
        Column("graphId", CLUSTERS),
        *(Column(f"cluster{axis}", CLUSTERS) for axis in "XYZ"),
        Column("tensorSizeMinusOneElements", CLUSTERS, type="TEXT"),
    ),
    "CUPTI_ACTIVITY_KIND_GRAPH_TRACE": (*PLACE, *LINK, *_columns("graphId graphExecId")),
    "CUPTI_ACTIVITY_KIND_MEMCPY": (
        *PLACE,
        *LINK,
        *_columns("bytes copyKind deprecatedSrcId srcKind dstKind"),
        *ENDS,
        *_columns("migrationCause graphNodeId"),
        Column("virtualAddress", (3, 0, 0)),
        Column("copyCount", SYNC_TYPES),
    ),
    "CUPTI_ACTIVITY_KIND_MEMSET": (*PLACE, *LINK, *_columns("value bytes graphNodeId memKind")),
    "CUPTI_ACTIVITY_KIND_RUNTIME": _columns(
        "start end eventClass globalTid correlationId nameId returnValue callchainId"
    ),
    "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION": (
        *PLACE,
        *LINK,
        Column("deprecatedSyncType", SYNC_TYPES),
        *_columns("syncType eventId"),
        Column("eventSyncId", SYNC_TYPES),
    ),
    "NVTX_EVENTS": (
        *_columns("start end eventType rangeId category color"),
        Column("text", type="TEXT"),
        *_columns("globalTid endGlobalTid textId domainId"),
        *NUMBERS,
        Column("jsonText", type="TEXT"),
        Column("binaryData", (3, 4, 0), type="TEXT"),
    ),
    "PROFILER_OVERHEAD": (
        *_columns("start end globalTid nameId"),
        Column("returnValue", until=CLUSTERS),
        Column("overheadType", CLUSTERS),
    ),
    "DIAGNOSTIC_EVENT": (
        *_columns("timestamp timestampType source severity"),
        Column("text", type="TEXT"),
        *_columns("globalPid"),
    ),
    "META_DATA_EXPORT": (Column("name", type="TEXT"), Column("value", type="TEXT")),
    "META_DATA_CAPTURE": (Column("name", type="TEXT"), Column("value", type="TEXT")),
    "EXPORT_META_DATA": (Column("name", type="TEXT"), Column("value", type="TEXT")),
}
"""The tables that a simulated export can have. A table without rows is not written, as nsys does by default."""


def create(table: str, version: Version) -> str:
    """Return the statement that makes a table."""
    columns = ", ".join(f'"{c.name}" {c.type}' for c in TABLES[table] if c.is_in(version))
    return f"CREATE TABLE {table} ({columns})"


def columns_of(table: str, version: Version) -> tuple[str, ...]:
    """Return the columns of a table in a version."""
    return tuple(c.name for c in TABLES[table] if c.is_in(version))
