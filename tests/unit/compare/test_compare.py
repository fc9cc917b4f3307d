"""What ranks say together, from jobs whose arrivals are written down by hand."""

from __future__ import annotations

import dataclasses
import itertools
import random

import numpy as np
import pytest

from perfkit.compare import compare
from perfkit.compare.collectives import bus_factor
from perfkit.model.fleet import BEFORE_RECORDING, Failure, Fleet, ProcessGroup
from tests.unit.compare.summaries import US, Run, call, job, summary

MS = 1_000_000
STEP = 10 * MS
PAIR, OTHER_PAIR = ProcessGroup("1", "", 2, (0, 1)), ProcessGroup("2", "", 2, (2, 3))


def check(fleet: Fleet) -> None:
    """What holds of every fleet."""
    for row in fleet.ranks:
        parts = (row.exposed_wait_ns, row.exposed_transfer_ns, row.exposed_unknown_ns)
        assert sum(parts) == row.busy.get("exposed_communication", 0)
        assert min(parts) >= 0
        assert sum(row.busy.values()) + sum(row.idle.values()) == row.window_ns
        assert 0 <= row.matched <= row.runs
    assert sum(row.caused_wait_ns for row in fleet.ranks) == sum(row.wait_ns for row in fleet.ranks)
    assert len(fleet.clocks) == len(fleet.ranks)


def noisy(ranks: int, calls: int, seed: int = 1, noise: int = 30 * US) -> list[list[int]]:
    """Arrivals that differ a little."""
    drawn = random.Random(seed)
    times = itertools.accumulate(STEP + drawn.randint(0, MS) for _ in range(calls))
    return [[time + drawn.randint(0, noise) for _ in range(ranks)] for time in times]


def test_wait_and_transfer_are_split_at_the_last_arrival() -> None:
    fleet = compare(job([call([1 * MS, 2 * MS, 5 * MS], transfer=300)]))
    check(fleet)
    assert [(row.exposed_wait_ns, row.exposed_transfer_ns) for row in fleet.ranks] == [
        (4 * MS, 300),
        (3 * MS, 300),
        (0, 300),
    ]
    (row,) = fleet.collectives
    assert (row.calls, row.skew_median_ns, row.skew_max_ns, row.wait_ns, row.transfer_ns) == (
        1, 4 * MS, 4 * MS, 7 * MS, 900,
    )  # fmt: skip
    assert (row.last_rank, row.last_calls) == (2, 1)
    assert [row.caused_wait_ns for row in fleet.ranks] == [0, 0, 7 * MS]


def test_waiting_hidden_behind_computation_is_no_exposed_waiting() -> None:
    runs = call([1 * MS, 5 * MS], transfer=1000)
    fleet = compare([summary(0, runs[:1], hidden={0: 3 * MS}), summary(1, runs[1:])])
    check(fleet)
    assert (fleet.ranks[0].wait_ns, fleet.ranks[0].exposed_wait_ns, fleet.ranks[0].exposed_transfer_ns) == (
        4 * MS, 1 * MS, 1000,
    )  # fmt: skip


def test_only_the_window_counts() -> None:
    first, second = call([1 * MS, 2 * MS], 100), call([11 * MS, 14 * MS], 100)
    ranks = [summary(r, [first[r], second[r]], window=(12 * MS, 20 * MS)) for r in (0, 1)]
    fleet = compare(ranks)
    check(fleet)
    assert [row.exposed_wait_ns for row in fleet.ranks] == [2 * MS, 0]
    assert [row.calls for row in fleet.collectives] == [1]


def planted(kind: str, ranks: int = 8, calls: int = 12) -> list[list[Run]]:
    """Rank 5 is 2 ms late to every call, or to one."""
    found = []
    for number, arrivals in enumerate(noisy(ranks, calls)):
        late = kind == "always" or (kind == "once" and number == 7)
        arrivals[5] += 2 * MS if late else 0
        runs = call(arrivals)
        if late:
            runs[5] = dataclasses.replace(runs[5], since={"data_loading": 2 * MS})
        found.append(runs)
    return found


def test_a_persistent_straggler_is_found_with_its_bucket() -> None:
    fleet = compare(job(planted("always")))
    check(fleet)
    straggler = fleet.straggler
    assert straggler is not None
    assert (straggler.rank, straggler.persistent, straggler.bucket) == (5, True, "data_loading")
    assert (straggler.late, straggler.calls, straggler.bucket_ns) == (12, 12, 24 * MS)
    assert "rank 5" in fleet.verdict
    assert "`data_loading`" in fleet.verdict
    assert any("12 of 12 collectives" in sentence for sentence in straggler.evidence)


def test_one_late_arrival_is_no_persistent_straggler() -> None:
    fleet = compare(job(planted("once")))
    check(fleet)
    straggler = fleet.straggler
    assert straggler is not None
    assert (straggler.rank, straggler.persistent, straggler.worst.call) == (5, False, 7)
    assert (straggler.bucket, straggler.bucket_ns) == ("data_loading", 2 * MS)
    assert fleet.late_arrivals[0] == straggler.worst
    assert "one `all_reduce`" in fleet.verdict


@pytest.mark.parametrize("ranks", [2, 8])
def test_small_and_even_waits_name_nobody(ranks: int) -> None:
    fleet = compare(job([call(arrivals) for arrivals in noisy(ranks, 40)]))
    check(fleet)
    assert fleet.straggler is None
    assert "much" in fleet.verdict


def test_large_but_even_waits_name_nobody() -> None:
    fleet = compare(job([call(arrivals) for arrivals in noisy(8, 200, noise=5 * MS)]))
    check(fleet)
    assert fleet.straggler is None
    assert "spread over the ranks" in fleet.verdict


def test_a_recording_that_begins_late_is_told_from_a_cause() -> None:
    runs = call([1 * MS, 1 * MS, 6 * MS])
    fleet = compare([summary(r, runs[r : r + 1], begin_ns=(0, 0, 5 * MS)[r]) for r in range(3)])
    check(fleet)
    assert fleet.straggler is not None
    assert (fleet.straggler.bucket, fleet.straggler.bucket_ns) == (BEFORE_RECORDING, 5 * MS)


@pytest.mark.parametrize("clock", ["unix", "profiler"])
def test_clocks_are_recovered_to_the_nanosecond(clock: str) -> None:
    ahead = [0, 123_456_789, -987_654, 5, -2_000_000_001, 77, 1, 40_000_000]
    fleet = compare(job(planted("always"), ahead, clock=clock))
    check(fleet)
    assert [clock.applied_ns for clock in fleet.clocks] == [-ns for ns in ahead]
    assert {clock.uncertainty_ns for clock in fleet.clocks[1:]} == {0}
    assert fleet.straggler == compare(job(planted("always"))).straggler


def test_an_offset_within_its_uncertainty_is_measured_but_not_applied() -> None:
    calls = [call(arrivals) for arrivals in noisy(2, 40)]
    drawn = random.Random(3)
    for runs in calls:
        runs[1] = dataclasses.replace(runs[1], end=runs[1].end + drawn.randint(-4 * US, 5 * US))
    clock = compare(job(calls)).clocks[1]
    assert clock.source == "header"
    assert clock.applied_ns == 0
    assert clock.measured_ns is not None
    assert clock.uncertainty_ns is not None
    assert abs(clock.measured_ns) <= clock.uncertainty_ns <= 5 * US


def test_clocks_reach_ranks_through_others() -> None:
    chain = [ProcessGroup(str(n), "", 2, (n, n + 1)) for n in range(3)]
    ahead = (0, 5 * MS, -3 * MS, 9)
    runs: list[list[Run]] = [[], [], [], []]
    for step in range(6):
        for n, group in enumerate(chain):
            pair = call([(10 * step + n) * MS, (10 * step + n) * MS + 100], group=group)
            runs[n].append(pair[0])
            runs[n + 1].append(pair[1])
    fleet = compare(summary(r, runs[r], ahead_ns=ahead[r]) for r in range(4))
    check(fleet)
    assert [clock.applied_ns for clock in fleet.clocks] == [-ns for ns in ahead]


def test_ranks_without_a_common_collective_keep_their_clocks() -> None:
    fleet = compare([summary(0, call([5], group=PAIR)), summary(2, call([5], group=OTHER_PAIR), ahead_ns=10)])
    check(fleet)
    assert [clock.source for clock in fleet.clocks] == ["header", "header"]
    assert [clock.measured_ns for clock in fleet.clocks] == [None, None]
    assert any("clocks of ranks 0, 2 are as their traces have them" in note for note in fleet.notes)
    assert fleet.missing == (1, 3)


@pytest.mark.parametrize("sequenced", [True, False])
@pytest.mark.parametrize("ahead", [(0, 0, 0), (0, 3 * MS, -2 * MS)])
def test_recordings_that_begin_and_end_at_different_calls(sequenced: bool, ahead: tuple[int, ...]) -> None:
    calls = [
        call(arrivals, sequence=number if sequenced else -1)
        for number, arrivals in enumerate(noisy(3, 20, noise=2 * MS))
    ]
    parts = (slice(0, 20), slice(3, 20), slice(1, 15))
    fleet = compare(summary(r, [c[r] for c in calls[parts[r]]], ahead_ns=ahead[r]) for r in range(3))
    check(fleet)
    (row,) = fleet.collectives
    assert row.calls == 12
    assert fleet.unmatched == (20 - 12) + (17 - 12) + (14 - 12)
    assert row.wait_ns == sum(max(a) - ns for a in noisy(3, 20, noise=2 * MS)[3:15] for ns in a)
    assert [clock.applied_ns for clock in fleet.clocks] == [-ns for ns in ahead]


def test_sizes_must_agree() -> None:
    calls = [call(arrivals, bytes=64 + number) for number, arrivals in enumerate(noisy(2, 6))]
    calls[2][1] = dataclasses.replace(calls[2][1], bytes=1)
    fleet = compare(job(calls))
    check(fleet)
    assert fleet.unmatched == 2
    assert fleet.collectives[0].bytes == sum(64 + number for number in (0, 1, 3, 4, 5))


def test_groups_are_compared_within_themselves() -> None:
    one, other = call([0, 3 * MS], group=PAIR), call([1 * MS, 9 * MS], group=OTHER_PAIR)
    fleet = compare([summary(0, one[:1]), summary(1, one[1:]), summary(2, other[:1]), summary(3, other[1:])])
    check(fleet)
    assert {row.group.name: row.ranks for row in fleet.collectives} == {"1": (0, 1), "2": (2, 3)}
    assert [row.wait_ns for row in fleet.ranks] == [3 * MS, 0, 8 * MS, 0]


def test_who_was_held_up_by_another_is_not_blamed() -> None:
    """Rank 1 is late to rank 0; so rank 0 is late to rank 2, which waits for rank 1 in the end."""
    across = ProcessGroup("9", "", 2, (0, 2))
    runs: list[list[Run]] = [[], [], []]
    for step in range(5):
        base = step * STEP
        pair = call([base, base + 4 * MS], 10 * US, group=PAIR)
        then = call([base + 4 * MS + 20 * US, base + 30 * US], 10 * US, group=across)
        runs[0] += [pair[0], then[0]]
        runs[1].append(dataclasses.replace(pair[1], since={"python": 4 * MS if step else 0}))
        runs[2].append(then[1])
    fleet = compare(summary(r, runs[r]) for r in range(3))
    check(fleet)
    assert fleet.straggler is not None
    assert (fleet.straggler.rank, fleet.straggler.bucket) == (1, "python")
    assert [row.caused_wait_ns for row in fleet.ranks] == [0, 5 * (8 * MS - 10 * US), 0]


def test_ranks_of_unnamed_groups_are_told_by_who_ends_together() -> None:
    nameless = ProcessGroup("")
    runs: list[list[Run]] = [[], [], [], []]
    for low, seed in ((0, 1), (2, 2)):
        for arrivals in noisy(2, 20, seed=seed, noise=MS):
            for at, run in enumerate(call(arrivals, group=nameless)):
                runs[low + at].append(run)
    fleet = compare(summary(r, runs[r]) for r in range(4))
    check(fleet)
    assert sorted(row.ranks for row in fleet.collectives) == [(0, 1), (2, 3)]
    assert fleet.unmatched == 0
    assert any("do not name the process groups" in note for note in fleet.notes)


def test_runs_that_cannot_be_one_call_are_not_matched() -> None:
    first = [Run(0, 1 * MS), Run(5 * MS, 6 * MS)]
    fleet = compare([summary(0, first[:1]), summary(1, first[1:], ahead_ns=0)])
    check(fleet)  # one call alone: its ends are what the clocks are told by
    assert fleet.clocks[1].applied_ns == -5 * MS
    calls = [call([n * STEP, n * STEP + 100]) for n in range(9)]
    calls[4][1] = Run(4 * STEP + 2 * MS, 4 * STEP + 3 * MS)
    fleet = compare(job(calls))
    check(fleet)
    assert fleet.unmatched == 2


def test_bandwidth_is_that_of_the_transfer() -> None:
    fleet = compare(job([call([0, 1 * MS, 2 * MS, 3 * MS], 1000, bytes=4000)]))
    assert fleet.collectives[0].bus_bytes_per_s == pytest.approx(4000 * 1.5 / 1e-6)
    assert compare(job([call([0, 1 * MS], 1000)])).collectives[0].bus_bytes_per_s == 0


@pytest.mark.parametrize(
    ("kind", "factor"), [("all_reduce", 1.75), ("all_gather", 0.875), ("all_to_all", 0.875), ("broadcast", 1.0)]
)
def test_bus_factors(kind: str, factor: float) -> None:
    assert bus_factor(kind, 8) == factor
    assert bus_factor(kind, 1) == 0


def test_missing_duplicate_and_failed_ranks_are_named() -> None:
    runs = call([0, 10, 20])
    ranks = [summary(r, runs[r : r + 1], world_size=5, path=f"b{r}") for r in range(3)]
    again = summary(1, runs[1:2], world_size=5, path="a1")
    failure = Failure("x.json", 4, "cannot be read")
    fleet = compare([*ranks, again], failed=[failure])
    check(fleet)
    assert fleet.world_size == 5
    assert fleet.missing == (3, 4)
    assert fleet.failed == (failure,)
    assert [(d.rank, d.kept, d.left_out) for d in fleet.duplicates] == [(1, "a1", ("b1",))]
    assert [row.path for row in fleet.ranks] == ["b0", "a1", "b2"]


def test_unknown_ranks_are_numbered_and_it_is_said() -> None:
    runs = call([0, 10 * MS])
    fleet = compare([summary(None, runs[:1], path="a"), summary(0, runs[1:], path="b")])
    check(fleet)
    assert [(row.rank, row.path) for row in fleet.ranks] == [(0, "b"), (1, "a")]
    assert any("do not say their rank" in note for note in fleet.notes)


def test_nobody_one_rank_and_no_collectives() -> None:
    assert compare([]).ranks == ()
    alone = compare([summary(3, call([5]))])
    check(alone)
    assert alone.verdict == "there is one rank, so nobody to wait for"
    assert alone.clocks[0].source == "reference"
    silent = compare([summary(0, []), summary(1, [])])
    check(silent)
    assert "no collective was found on several ranks" in silent.verdict


@pytest.mark.parametrize("ns", [2**62, -(2**62), 2**63 - 1, -(2**63)])
def test_times_that_cannot_be_are_matched_with_nothing(ns: int) -> None:
    ranks = job([call([n * STEP, n * STEP + 5 * US]) for n in range(4)])
    runs = ranks[1].collectives
    start = runs.start_ns.copy()
    start[2] = ns
    ranks[1] = ranks[1]._replace(collectives=runs._replace(start_ns=start))
    fleet = compare(ranks)
    assert sum(row.calls for row in fleet.collectives) <= 3
    assert fleet.unmatched >= 1


def test_clocks_of_different_origin_are_said() -> None:
    calls = [call(arrivals) for arrivals in noisy(2, 5)]
    ranks = job(calls)
    trace = ranks[1].trace._replace(epoch_ns=-(2**62), clock="profiler")
    fleet = compare([ranks[0], ranks[1]._replace(trace=trace)])
    check(fleet)
    assert fleet.clocks[1].source == "collectives"
    assert any("unspecified origin" in note for note in fleet.notes)


def test_many_ranks_take_time_in_proportion() -> None:
    arrivals = np.array(noisy(256, 50))
    arrivals[:, 17] += 3 * MS
    fleet = compare(job([call(row.tolist()) for row in arrivals]))
    check(fleet)
    assert fleet.straggler is not None
    assert (fleet.straggler.rank, fleet.straggler.late) == (17, 50)
