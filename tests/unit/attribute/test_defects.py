"""What a reader must know before believing a number."""

from __future__ import annotations

import pytest

from perfkit.attribute import attribute
from tests.unit.attribute.hand_made import LAUNCH, Row, annotation, call, kernel, launched, operator, stack, trace

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


def test_of_a_silent_host_it_says_how_much_and_what_to_record() -> None:
    rows = [*launched(1, (1, 2), (5, 9)), *launched(2, (3_000_009, 3_000_010), (3_000_035, 3_000_039))]
    (defect,) = attribute(trace(rows)).defects
    assert "3.000 ms" in defect.message
    assert "with_stack=True" in defect.message
    (defect,) = attribute(trace([*rows, stack("a.py(1): f", 0, 4)])).defects
    assert "with_stack=True" not in defect.message
