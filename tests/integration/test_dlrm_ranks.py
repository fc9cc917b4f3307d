"""Eight ranks of one DLRM step: who waits for whom, held against a few slow lines over the files' own JSON."""

from __future__ import annotations

import functools
import json
from typing import Any

from perfkit.attribute import summarise_rank
from perfkit.compare import compare
from perfkit.ingest import load
from perfkit.model.columns import COLLECTIVE_FIELDS, DEFAULT_FIELDS
from perfkit.model.fleet import BEFORE_RECORDING, Fleet
from tests.integration.shared import TRACES, needs_shared

pytestmark = needs_shared

FOLDER = TRACES / "param" / "dlrm"


@functools.cache
def fleet() -> Fleet:
    """The ranks together."""
    fields = (*DEFAULT_FIELDS, *COLLECTIVE_FIELDS)
    return compare(summarise_rank(load(path, fields=fields)) for path in sorted(FOLDER.iterdir()))


@functools.cache
def kernels() -> dict[int, list[dict[str, Any]]]:
    """The kernels and memsets of each rank, by start, in us as the files have them."""
    found = {}
    for path in FOLDER.iterdir():
        content = json.loads(path.read_text())
        rows = [row for row in content["traceEvents"] if row.get("cat") in ("kernel", "gpu_memset")]
        found[content["distributedInfo"]["rank"]] = sorted(rows, key=lambda row: row["ts"])
    return found


def nccl(rank: int) -> list[dict[str, Any]]:
    """The collectives of a rank."""
    return [row for row in kernels()[rank] if row["name"].startswith("nccl")]


def test_every_rank_and_every_collective_is_there() -> None:
    assert [row.rank for row in fleet().ranks] == list(range(8))
    assert fleet().world_size == 8
    assert (fleet().missing, fleet().duplicates, fleet().unmatched) == ((), (), 0)
    assert {row.kind: row.calls for row in fleet().collectives} == {"all_to_all": 5, "all_reduce": 3}
    assert {clock.source for clock in fleet().clocks[1:]} == {"header"}  # one machine: within some us
    assert all(clock.uncertainty_ns is not None and clock.uncertainty_ns < 10_000 for clock in fleet().clocks[1:])


def test_waiting_is_what_a_slow_count_of_microseconds_gives() -> None:
    caused = dict.fromkeys(range(8), 0)
    exposed = dict.fromkeys(range(8), 0)
    skews = []
    for number in range(8):
        arrivals = {rank: nccl(rank)[number]["ts"] for rank in range(8)}
        last = max(arrivals, key=lambda rank: arrivals[rank])
        skews.append(arrivals[last] - min(arrivals.values()))
        for rank in range(8):
            own = nccl(rank)[number]
            computed = {
                us
                for row in kernels()[rank]
                if not row["name"].startswith("nccl")
                and row["ts"] < own["ts"] + own["dur"]
                and row["ts"] + row["dur"] > own["ts"]
                for us in range(row["ts"], row["ts"] + row["dur"])
            }
            waiting = range(own["ts"], min(arrivals[last], own["ts"] + own["dur"]))
            caused[last] += len(waiting)
            exposed[rank] += sum(us not in computed for us in waiting)
    assert {row.rank: row.caused_wait_ns for row in fleet().ranks} == {rank: 1000 * us for rank, us in caused.items()}
    assert {row.rank: row.exposed_wait_ns for row in fleet().ranks} == {rank: 1000 * us for rank, us in exposed.items()}
    assert max(row.skew_max_ns for row in fleet().collectives) == 1000 * max(skews)


def test_exposed_communication_is_split_without_rest() -> None:
    for row in fleet().ranks:
        assert row.exposed_wait_ns + row.exposed_transfer_ns == row.busy["exposed_communication"]
        assert row.exposed_unknown_ns == 0
        assert row.exposed_wait_ns > row.exposed_transfer_ns > 0


def test_the_straggler_is_named_with_its_evidence() -> None:
    straggler = fleet().straggler
    assert straggler is not None
    assert (straggler.rank, straggler.late, straggler.calls) == (7, 5, 8)
    # Its first arrival is most of it, and was late before anything was recorded.
    assert (straggler.persistent, straggler.worst.kind, straggler.worst.call) == (False, "all_to_all", 0)
    assert (straggler.bucket, straggler.bucket_ns > 4_000_000) == (BEFORE_RECORDING, True)
    assert straggler.evidence[0].startswith("rank 7 came last to 5 of 8 collectives")
    assert fleet().verdict.startswith("rank 7 arrives late at one `all_to_all`")
