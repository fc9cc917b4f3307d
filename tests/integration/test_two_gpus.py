"""Two ranks in one file of Nsight Systems: a training job on two GPUs whose exchanges are sends and receives."""

from __future__ import annotations

import sqlite3

import pytest

from perfkit.attribute import summarise_ranks
from perfkit.compare import compare
from perfkit.ingest import load
from tests.integration.shared import TRACES, needs_shared

pytestmark = needs_shared

FOLDER = TRACES / "nsys" / "nsys-ai"
EXCHANGES = """SELECT deviceId, start, end FROM CUPTI_ACTIVITY_KIND_KERNEL
    JOIN StringIds ON id = demangledName WHERE value LIKE 'nccl%' ORDER BY deviceId, start"""


@pytest.mark.parametrize(("file", "calls"), [("mfu_2gpu_before", 33), ("mfu_2gpu_after", 31)])
def test_each_exchange_is_matched_and_split_at_the_later_arrival(file: str, calls: int) -> None:
    path = FOLDER / f"{file}.sqlite"
    fleet = compare(summarise_ranks(load(path)))
    with sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True) as database:
        rows = database.execute(EXCHANGES).fetchall()
    one, other = ([row[1:] for row in rows if row[0] == device] for device in (0, 1))
    waits = [0, 0]
    for (start, end), (also_start, also_end) in zip(one, other, strict=True):
        waits[0] += max(0, min(also_start, end) - start)
        waits[1] += max(0, min(start, also_end) - also_start)
    assert [row.wait_ns for row in fleet.ranks] == waits
    (row,) = fleet.collectives
    assert (row.kind, row.calls, fleet.unmatched) == ("send_recv", calls, 0)
    assert row.transfer_ns == sum(end - start for start, end in (*one, *other)) - sum(waits)
    for rank in fleet.ranks:
        assert rank.exposed_wait_ns + rank.exposed_transfer_ns == rank.busy["exposed_communication"]
