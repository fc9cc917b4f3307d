"""What a reader must know before believing a number."""

from __future__ import annotations

import pytest

from perfkit.attribute import attribute
from tests.unit.attribute.hand_made import (
    LAUNCH,
    MS,
    Row,
    annotation,
    call,
    kernel,
    launched,
    mark,
    operator,
    stack,
    trace,
)

CASES: dict[str, tuple[list[Row], dict[str, int]]] = {
    "none": ([operator("aten::add", 0, 40), *launched(1, (1, 2), (5, 9)), *launched(2, (30, 31), (35, 39))], {}),
    "overlapping on one stream": (
        [operator("a::b", 0, 40), *launched(1, (1, 2), (5, 20)), *launched(2, (3, 4), (19, 30))],
        {"overlapping_activities": 1},
    ),
    "one inside another, then a third": (
        [kernel(0, 100), kernel(10, 20), kernel(30, 40)],
        {"overlapping_activities": 2, "activities_without_launch": 3},
    ),
    "at once on two streams": ([kernel(0, 100), kernel(10, 20, stream=8)], {"activities_without_launch": 2}),
    "touching, and without length": (
        [kernel(0, 10), kernel(10, 10), kernel(10, 20)],
        {"activities_without_launch": 3},
    ),
    "no launch": ([*launched(1, (1, 2), (5, 9)), kernel(9, 20, 44)], {"activities_without_launch": 1}),
    "a start before the launch": ([*launched(1, (6, 8), (5, 9))], {"activity_before_launch": 1}),
    "no activity": (
        [operator("aten::add", 0, 9), call(LAUNCH, 0, 1, correlation=4), call("cudaMalloc", 3, 4)],
        {"no_device_activity": 1},
    ),
    "a program that launches nothing": ([operator("aten::add", 0, 40)], {}),
    "an orphan that ties with a linked one": (
        [*launched(5, (1, 2), (5, 9)), kernel(5, 9, stream=8)],
        {"activities_without_launch": 1},
    ),
    "launches of one correlation": (
        [operator("a::b", 0, 40), *launched(1, (1, 2), (5, 9)), *launched(1, (11, 12), (15, 19))],
        {"repeated_correlation": 1, "shared_process_id": 1},
    ),
    "one of many launches with the correlation of another": (
        [
            operator("a::b", 0, 9000),
            *[row for n in range(150) for row in launched(n, (50 * n, 50 * n + 1), (50 * n + 5, 50 * n + 9))],
            *launched(7, (8000, 8001), (8005, 8009)),
        ],
        {"repeated_correlation": 1},
    ),
    "calls of one thread that cross": (
        [*launched(1, (0, 10 * MS), (15 * MS, 16 * MS)), call("cudaMalloc", 5 * MS, 15 * MS)],
        {"shared_process_id": 1},
    ),
    "calls that cross by rounding": (
        [*launched(1, (0, 3000), (9000, 9900)), call("cudaMalloc", 2000, 4000)],
        {},
    ),
    "calls of two threads that overlap": (
        [*launched(1, (0, 10 * MS), (15 * MS, 16 * MS)), call("cudaMalloc", 5 * MS, 15 * MS, thread="2")],
        {},
    ),
    "a host that is hardly silent": (
        [
            operator("a::b", 0, 995),
            *launched(1, (1, 2), (5, 9)),
            *launched(2, (1000, 1001), (1010, 2000)),
        ],
        {},
    ),
    "a silent host": (
        [*launched(1, (1, 2), (5, 9)), annotation("x", 12, 15), *launched(2, (30, 31), (35, 39))],
        {"host_events_missing": 2},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_defects(case: str) -> None:
    rows, kinds = CASES[case]
    defects = attribute(trace(rows), window="device-span").defects
    assert {defect.kind: defect.count for defect in defects} == kinds
    for defect in defects:
        assert f"{defect.count:,}" in defect.message
        assert defect.first_offset == -1


def test_each_count_has_an_example() -> None:
    rows = [
        *launched(1, (MS, 2 * MS), (3 * MS, 9 * MS)),
        *launched(2, (MS, 2 * MS), (8 * MS, 9 * MS), name="late"),
        kernel(20 * MS, 21 * MS, name="orphan" + "n" * 99),
        kernel(30 * MS, 31 * MS, name="second"),
    ]
    messages = {defect.kind: defect.message for defect in attribute(trace(rows), window="device-span").defects}
    assert messages["overlapping_activities"].endswith("; first 'late' at 8.000000 ms")
    assert messages["activities_without_launch"].endswith(f"; first 'orphan{'n' * 54}...' at 20.000000 ms")


STEPS: dict[str, tuple[list[Row], list[str], tuple[str, ...], int]] = {
    "each with work": ([mark(n, 20 * n, 20 * n + 20) for n in range(4)], ["#1", "#2", "#3"], ("ProfilerStep#0",), 0),
    "the first without work": (
        [mark(9, -20, 0), *[mark(n, 20 * n, 20 * n + 20) for n in range(4)]],
        ["#0", "#1", "#2", "#3"],
        (),
        1,
    ),
    "some without work, the last one, too": (
        [mark(n, 10 * n, 10 * n + 10) for n in range(8)],
        ["#2", "#4", "#6"],
        ("ProfilerStep#0",),
        4,
    ),
    "the only one with work is the second": ([mark(0, -9, 0), mark(1, 0, 90), mark(2, 90, 99)], ["#1"], (), 2),
}


@pytest.mark.parametrize("case", STEPS)
def test_steps_that_launched_nothing_are_noted(case: str) -> None:
    marks, kept, dropped, empty = STEPS[case]
    work = [row for n in range(4) for row in launched(n, (20 * n + 1, 20 * n + 2), (20 * n + 4, 20 * n + 9))]
    attribution = attribute(trace([*marks, *work]))
    (timeline,) = attribution.timelines
    assert [step.name.removeprefix("ProfilerStep") for step in timeline.steps] == kept
    assert attribution.window.dropped == dropped
    assert sum(defect.count for defect in attribution.defects if defect.kind == "steps_without_work") == empty


def test_of_a_silent_host_it_says_how_much_and_what_to_record() -> None:
    rows = [*launched(1, (1, 2), (5, 9)), *launched(2, (3_000_009, 3_000_010), (3_000_035, 3_000_039))]
    (defect,) = attribute(trace(rows)).defects
    assert "at 1 moment (3.00 ms, " in defect.message
    assert "with_stack=True" in defect.message
    (defect,) = attribute(trace([*rows, stack("a.py(1): f", 0, 4)])).defects
    assert "with_stack=True" not in defect.message
