"""The simulator's Nsight form, read back with plain SQL: nothing is lost, and each age has its own columns."""

from __future__ import annotations

import dataclasses
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from tests import simulator
from tests.simulator import nsight
from tests.simulator.kineto import EPOCH_NS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulator import Machine

WORK = ("KERNEL", "MEMCPY", "MEMSET", "GRAPH_TRACE")


def cuda_program(seed: int) -> simulator.Workload:
    return dataclasses.replace(simulator.random_program(seed), vendor="cuda", stacks=False)


def exported(machine: Machine, path: Path, export: nsight.Export) -> sqlite3.Connection:
    nsight.write(machine, path, export)
    return sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)


def tables_of(database: sqlite3.Connection) -> set[str]:
    return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def activities_of(database: sqlite3.Connection) -> list[tuple[Any, ...]]:
    known = tables_of(database)
    found = []
    for kind in WORK:
        if f"CUPTI_ACTIVITY_KIND_{kind}" in known:
            found += database.execute(
                f"SELECT start, end, deviceId, streamId, correlationId FROM CUPTI_ACTIVITY_KIND_{kind}"
            ).fetchall()
    return sorted(found, key=str)


@pytest.mark.parametrize("export", nsight.EXPORTS, ids=lambda export: ".".join(map(str, export.schema)))
def test_every_activity_and_call_is_there_with_its_times(export: nsight.Export, tmp_path: Path) -> None:
    for seed in range(12):
        machine = simulator.record(cuda_program(seed))
        database = exported(machine, tmp_path / "r.sqlite", export)
        shift = export.earlier_ns
        expected = [
            (a.row.start + shift, a.row.end + shift, a.row.pid, a.row.tid, a.row.correlation)
            for a in machine.activities
        ]
        assert activities_of(database) == sorted(expected, key=str)
        calls = database.execute("SELECT start, end, globalTid, correlationId FROM CUPTI_ACTIVITY_KIND_RUNTIME")
        rows = [row for row in machine.rows if row.category.startswith("cuda_")]
        assert sorted(calls) == sorted(
            (row.start + shift, row.end + shift, nsight.global_tid(row.pid, row.tid), row.correlation) for row in rows
        )
        ((start,),) = database.execute("SELECT utcEpochNs FROM TARGET_INFO_SESSION_START_TIME")
        assert start + shift == EPOCH_NS


def test_a_launch_and_its_kernel_meet_on_process_and_correlation_though_correlations_collide(tmp_path: Path) -> None:
    seed = next(n for n in range(100) if len(cuda_program(n).processes) == 2)
    machine = simulator.record(cuda_program(seed))
    database = exported(machine, tmp_path / "r.sqlite", nsight.Export())
    joined = """SELECT COUNT(*) FROM CUPTI_ACTIVITY_KIND_KERNEL k JOIN CUPTI_ACTIVITY_KIND_RUNTIME r
        ON k.correlationId = r.correlationId AND (k.globalPid = (r.globalTid & ~0xFFFFFF) OR ?)"""
    linked = sum(a.launch is not None and a.row.category == "kernel" for a in machine.activities)
    ((exact,),) = database.execute(joined, (0,))
    ((careless,),) = database.execute(joined, (1,))
    assert exact == linked
    assert careless > linked


def test_the_schemas_differ_where_the_releases_do(tmp_path: Path) -> None:
    machine = simulator.record(cuda_program(3))
    columns, tables = {}, {}
    for export in nsight.EXPORTS:
        database = exported(machine, tmp_path / "r.sqlite", export)
        tables[export.schema] = tables_of(database)
        columns[export.schema] = {
            (table, row[1]) for table in tables_of(database) for row in database.execute(f"PRAGMA table_info({table})")
        }
    assert ("CUPTI_ACTIVITY_KIND_KERNEL", "greenContextId") in columns[3, 13, 2] - columns[3, 6, 0]
    assert ("CUPTI_ACTIVITY_KIND_SYNCHRONIZATION", "deprecatedSyncType") in columns[3, 20, 2] - columns[3, 13, 2]
    assert ("CUPTI_ACTIVITY_KIND_KERNEL", "graphId") in columns[3, 25, 0] - columns[3, 20, 2]
    assert "EXPORT_META_DATA" in tables[2, 9, 1] - tables[3, 25, 0]
    assert "META_DATA_EXPORT" in tables[3, 25, 0] - tables[2, 9, 1]
    assert "CUPTI_ACTIVITY_KIND_GRAPH_TRACE" in tables[3, 6, 0] - tables[3, 25, 0]


def test_range_texts_are_in_their_rows_or_registered(tmp_path: Path) -> None:
    machine = simulator.record(cuda_program(3))
    expected = sorted(row.name for row in machine.rows if row.category in ("cpu_op", "user_annotation"))
    for nvtx in ("inline", "registered", "both"):
        database = exported(machine, tmp_path / "r.sqlite", nsight.Export(nvtx=nvtx, emitted=False))
        texts = "SELECT COALESCE(text, value) FROM NVTX_EVENTS LEFT JOIN StringIds ON id = textId"
        assert sorted(text for (text,) in database.execute(texts)) == expected


def test_a_graph_seen_as_a_whole_is_one_row(tmp_path: Path) -> None:
    launches = 0
    for seed in range(40):
        machine = simulator.record(cuda_program(seed))
        graphs = {
            (a.row.pid, a.row.correlation): a.row.end for a in machine.activities if "graph node id" in a.row.args
        }
        whole = nsight.with_whole_graphs(machine)
        database = exported(whole, tmp_path / "r.sqlite", nsight.Export())
        launches += len(graphs)
        if graphs:
            counted = database.execute("SELECT COUNT(*), MAX(graphId) FROM CUPTI_ACTIVITY_KIND_GRAPH_TRACE").fetchone()
            assert counted == (len(graphs), 3)
    assert launches


def test_amd_devices_are_not_nsights(tmp_path: Path) -> None:
    machine = simulator.record(dataclasses.replace(cuda_program(1), vendor="hip"))
    with pytest.raises(ValueError, match="CUDA only"):
        nsight.write(machine, tmp_path / "r.sqlite")
