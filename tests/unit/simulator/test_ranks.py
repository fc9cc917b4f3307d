"""Simulated ranks: what the machine notes of their meetings is what their files say, each by its own clock."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

import pytest

from tests.simulator import ranks
from tests.simulator.kineto import EPOCH_NS
from tests.simulator.ranks import Job, Slow

if TYPE_CHECKING:
    from pathlib import Path

NS = 400_000


def kernels_of(path: Path) -> list[tuple[int, int]]:
    """Start and end, absolute, of every collective's kernel in a rank's file, by start."""
    if path.suffix == ".sqlite":
        with sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True) as database:
            query = """SELECT start + utcEpochNs, end + utcEpochNs FROM TARGET_INFO_SESSION_START_TIME,
                CUPTI_ACTIVITY_KIND_KERNEL JOIN StringIds ON id = demangledName WHERE value LIKE 'nccl%'"""
            return sorted(database.execute(query).fetchall())
    content = json.loads(path.read_text(), parse_float=lambda text: int(text.replace(".", "")))
    rows = [row for row in content["traceEvents"] if row["name"].startswith("nccl")]
    base = content["baseTimeNanoseconds"]
    return sorted((base + row["ts"], base + row["ts"] + row["dur"]) for row in rows)


@pytest.mark.parametrize("forms", [("kineto",), ("nsight",), ("kineto", "nsight")])
@pytest.mark.parametrize("job", [Job(4, clocks=(0, 5_000_001, -77, 9)), Job(4, sharded=True, tensor_parallel=2)])
def test_files_have_the_meetings_by_their_own_clocks(job: Job, forms: tuple[str, ...], tmp_path: Path) -> None:
    recorded = ranks.run(job)
    for rank, path in enumerate(recorded.write(tmp_path, forms)):
        shift = EPOCH_NS + job.clock_ns(rank)
        met = [m for m in recorded.meetings() if rank in m.arrivals]
        assert kernels_of(path) == sorted((m.arrivals[rank] + shift, m.end_ns + shift) for m in met)


@pytest.mark.parametrize("bucket", ranks.BUCKETS)
@pytest.mark.parametrize("sharded", [False, True])
def test_a_slow_rank_arrives_last_by_what_was_planted(bucket: str, sharded: bool) -> None:
    recorded = ranks.run(Job(4, sharded=sharded, slow=(Slow(2, bucket, NS),)))
    late = [m for m in recorded.meetings() if m.late_ns]
    assert {max(m.arrivals, key=m.arrivals.__getitem__) for m in late} == {2}
    assert max(m.late_ns for m in late) == NS
    assert sum(m.late_ns == NS for m in late) == 5
    assert not any(m.wait_ns for m in ranks.run(Job(4, sharded=sharded)).meetings())


def test_one_late_arrival_is_of_one_step() -> None:
    recorded = ranks.run(Job(4, slow=(Slow(1, "python", NS, step=3),)))
    assert {m.steps[1] for m in recorded.meetings() if m.late_ns} == {4}


def test_recordings_that_begin_later_lack_what_was_before(tmp_path: Path) -> None:
    recorded = ranks.run(Job(3, first_steps=(0, 1, 2)))
    counts = [len(kernels_of(path)) for path in recorded.write(tmp_path)]
    assert counts == [15, 12, 9]
    assert len(recorded.meetings()) == 9
