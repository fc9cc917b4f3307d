"""Which call launched which activity, and which process a device works for."""

from __future__ import annotations

import pytest

from perfkit.attribute import attribute
from perfkit.attribute.work import Work, collect
from perfkit.model.columns import DEFAULT_FIELDS
from tests.unit.attribute.hand_made import LAUNCH, Row, annotation, call, copy, kernel, launched, operator, trace

WITHOUT_EXTERNAL = tuple(name for name in DEFAULT_FIELDS if name != "external_id")


def found(rows: list[Row], columns: tuple[str, ...] = DEFAULT_FIELDS) -> list[tuple[str, int | None]]:
    """The owner and the start of the launch of every activity, in order of start."""
    work = collect(trace(rows, columns=columns))
    return [(owner_of(work, at), start_of_launch(work, at)) for at in range(len(work.activities.row))]


def owner_of(work: Work, activity: int) -> str:
    owner = int(work.activities.owner[activity])
    return work.processes[owner] if owner >= 0 else "?"


def start_of_launch(work: Work, activity: int) -> int | None:
    at = int(work.activities.call[activity])
    return int(work.calls.start[at]) if at >= 0 else None


def test_the_correlation_links_a_call_and_all_that_it_launched() -> None:
    rows = [
        call("cudaGraphLaunch", 3, 5, correlation=8),
        kernel(10, 20, 8),
        kernel(20, 30, 8),
        *launched(4, (1, 2), (40, 41)),
    ]
    assert found(rows) == [("9", 3), ("9", 3), ("9", 1)]


def test_of_several_calls_with_one_correlation_the_latest_begun_counts() -> None:
    calls = [call(LAUNCH, 6, 7, correlation=1), call(LAUNCH, 2, 3, correlation=1), call(LAUNCH, 30, 31, correlation=1)]
    assert found([*calls, kernel(1, 2, 1), kernel(10, 20, 1), kernel(40, 50, 1)]) == [
        ("9", 2),
        ("9", 6),
        ("9", 30),
    ]


def test_no_correlation_links_nothing() -> None:
    assert found([call("cudaMalloc", 1, 2), kernel(10, 20), kernel(20, 30, 5)]) == [("9", None), ("9", None)]


def test_without_calls_the_process_is_unknown() -> None:
    assert found([operator("aten::add", 0, 5), kernel(10, 20, 1)]) == [("?", None)]


def test_in_one_process_a_launch_may_seem_to_come_after_its_activity() -> None:
    assert found([*launched(1, (12, 14), (10, 20))]) == [("9", 12)]


@pytest.mark.parametrize("columns", [DEFAULT_FIELDS, WITHOUT_EXTERNAL])
@pytest.mark.parametrize("turned", [False, True])
def test_two_ranks_with_colliding_correlations(turned: bool, columns: tuple[str, ...]) -> None:
    one = [row for n in range(5) for row in launched(n, (10 * n, 10 * n + 1), (10 * n + 5, 10 * n + 9), process="100")]
    two = [
        row
        for n in range(4)
        for row in launched(n, (10 * n + 12, 10 * n + 13), (10 * n + 15, 10 * n + 19), process="200", device=1)
    ]
    work = collect(trace(two + one if turned else one + two, columns=columns))
    for at in range(len(work.activities.row)):
        process, after = ("100", 5) if work.activities.device[at] == 0 else ("200", 3)
        assert owner_of(work, at) == process
        assert start_of_launch(work, at) == work.activities.start[at] - after


def test_two_ranks_with_the_same_device_number_are_told_apart_by_external_id() -> None:
    rows = [
        call(LAUNCH, 0, 1, correlation=1, process="100", external_id=50),
        kernel(5, 9, 1, external_id=50),
        call(LAUNCH, 2, 3, correlation=1, process="200", external_id=60),
        kernel(12, 19, 1, external_id=60),
        call(LAUNCH, 4, 5, correlation=2, process="100", external_id=51),
        kernel(20, 29, 2, external_id=51),
    ]
    assert found(rows) == [("100", 0), ("200", 2), ("100", 4)]


def test_a_coincidence_does_not_take_an_orphan_from_its_device() -> None:
    """The kernel of correlation 3 was launched before the recording; another rank has a 3 of its own."""
    one = [row for n in (1, 2) for row in launched(n, (10 * n, 10 * n + 1), (10 * n + 5, 10 * n + 9), process="100")]
    two = [
        row
        for n in (3, 4)
        for row in launched(n, (10 * n, 10 * n + 1), (10 * n + 5, 10 * n + 9), process="200", device=1)
    ]
    assert found([*one, kernel(60, 70, 3), *two])[-1] == ("100", None)


def test_an_external_id_that_differs_is_no_link_where_processes_could_be_mixed_up() -> None:
    rows = [
        call(LAUNCH, 0, 1, correlation=1, process="100", external_id=7),
        kernel(5, 9, 1, external_id=7),
        call(LAUNCH, 0, 1, correlation=2, process="200", external_id=7),
        kernel(5, 9, 2, external_id=7, device=1),
        kernel(15, 19, 2, external_id=99),
    ]
    assert found(rows)[-1] == ("100", None)


def test_where_all_ids_collide_a_device_stays_with_its_own_process() -> None:
    """The other rank's call bears the same ids and comes later, but that rank is at home on another device."""
    rows = [
        *launched(1, (0, 1), (5, 9), process="100"),
        call(LAUNCH, 10, 11, correlation=2, process="100", external_id=7),
        kernel(15, 19, 2, external_id=7),
        call(LAUNCH, 12, 13, correlation=2, process="200", external_id=7),
        *[
            row
            for n in (3, 4)
            for row in launched(n, (10 * n, 10 * n + 1), (10 * n + 5, 10 * n + 9), process="200", device=1)
        ],
        call(LAUNCH, 50, 51, correlation=5, process="200", external_id=8),
        kernel(55, 59, 5, device=1, external_id=8),
        call(LAUNCH, 52, 53, correlation=6, process="100", external_id=9),
        kernel(60, 69, 6, external_id=9),
    ]
    assert found(rows)[1] == ("100", 10)


def test_a_process_that_owns_no_device_may_share_one_without_external_ids() -> None:
    rows = [
        *launched(1, (0, 1), (5, 9), process="100"),
        *launched(2, (10, 11), (15, 19), process="100"),
        *launched(3, (20, 21), (25, 29), process="200"),
    ]
    assert found(rows, WITHOUT_EXTERNAL) == [("100", 0), ("100", 10), ("200", 20)]


def test_calls_are_known_by_what_they_do() -> None:
    rows = [
        *launched(1, (0, 1), (5, 9)),
        call("hipGraphLaunch", 10, 11, correlation=2),
        call("cudaMemcpyAsync", 20, 21, correlation=3),
        copy(25, 29, 3),
        call("cudaFuncGetAttributes", 30, 31, correlation=4),
        call("someVendorLaunch", 40, 41, correlation=5),
        kernel(45, 49, 5),
        annotation("cudaLaunchKernel", 50, 51),
    ]
    calls = collect(trace(rows)).calls
    assert calls.launches.tolist() == [True, True, True, False, True]
    assert calls.with_activity.tolist() == [True, False, True, False, True]
    assert calls.is_copy.tolist() == [False, False, True, False, False]
    assert calls.is_graph.tolist() == [False, True, False, False, False]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("columns", [DEFAULT_FIELDS, WITHOUT_EXTERNAL])
def test_a_named_process_is_believed_whatever_the_numbers_say(columns: tuple[str, ...], turned: bool) -> None:
    """Both processes use one device, with the same correlations; one's calls are the later ones throughout."""
    one = [
        row
        for n in range(5)
        for row in launched(n, (10 * n, 10 * n + 1), (10 * n + 5, 10 * n + 9), process="100", owner="100")
    ]
    two = [
        row
        for n in range(5)
        for row in launched(n, (10 * n + 2, 10 * n + 3), (10 * n + 7, 10 * n + 9), process="200", owner="200")
    ]
    rows = [*one, *two, kernel(90, 95, 77, owner="100")]
    assert found(rows[::-1] if turned else rows, columns) == [
        *[pair for n in range(5) for pair in (("100", 10 * n), ("200", 10 * n + 2))],
        ("100", None),
    ]


def test_a_named_process_need_not_have_recorded_anything() -> None:
    rows = [*launched(1, (0, 1), (5, 9), process="100", owner="100"), kernel(10, 20, 1, owner="300")]
    assert found(rows) == [("100", 0), ("300", None)]


def test_streams_with_and_without_a_named_process() -> None:
    rows = [
        *launched(1, (0, 1), (5, 9), process="100", owner="100"),
        *launched(2, (10, 11), (15, 19), process="200", device=1),
        *launched(1, (20, 21), (25, 29), process="200", device=1),
    ]
    assert found(rows) == [("100", 0), ("200", 10), ("200", 20)]


def test_a_repeated_correlation_within_a_named_process_is_the_latest_one() -> None:
    rows = [
        *launched(1, (0, 1), (5, 9), owner="9"),
        *launched(1, (10, 11), (15, 19), owner="9"),
        call(LAUNCH, 12, 13, correlation=1, process="8"),
    ]
    assert found(rows) == [("9", 0), ("9", 10)]


def test_a_thousand_processes_on_one_device() -> None:
    rows = [
        row
        for n in range(1000)
        for row in launched(n % 7, (10 * n, 10 * n + 1), (10 * n + 5, 10 * n + 9), process=str(n), owner=str(n))
    ]
    assert found(rows) == [(str(n), 10 * n) for n in range(1000)]


def test_two_ranks_of_one_process_id_are_told_apart_by_external_id() -> None:
    """The same correlation and the same process: the latest call before the kernel is that of the other rank."""
    rows = [
        call(LAUNCH, 0, 1, correlation=1, external_id=50),
        call(LAUNCH, 2, 3, correlation=1, external_id=60, thread="2"),
        kernel(5, 9, 1, external_id=50),
        kernel(5, 9, 1, external_id=60, device=1),
        kernel(15, 19, 1, external_id=70, device=1),
        kernel(25, 29, 1, device=1),
    ]
    work = collect(trace(rows))
    starts = {int(work.activities.row[at]): start_of_launch(work, at) for at in range(4)}
    assert [starts[row] for row in range(2, 6)] == [0, 2, 2, 2]


@pytest.mark.parametrize("turned", [False, True])
def test_of_activities_that_start_together_one_without_correlation_does_not_decide(turned: bool) -> None:
    rows = [*launched(1, (0, 1), (5, 9)), *launched(2, (20, 21), (25, 29)), kernel(25, 29, stream=8)]
    (timeline,) = attribute(trace(rows[::-1] if turned else rows), window="device-span").timelines
    assert dict(timeline.idle) == {"unattributed_host_silent": 11, "launch_overhead": 1, "launch_latency": 4}
