"""Traces that no program would write: each is attributed to the ns, and soon."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from perfkit.attribute import attribute
from perfkit.model.columns import MISSING_SMALL
from perfkit.model.trace import Category
from tests.unit.attribute.hand_made import (
    LAUNCH,
    Row,
    annotation,
    call,
    host,
    kernel,
    launched,
    mark,
    operator,
    stack,
    trace,
)

if TYPE_CHECKING:
    from collections.abc import Callable

MANY = 50_000
DEEP = 10_000
CENTURY = 100 * 366 * 86_400 * 10**9
SOON_S = 10
"""Far above what it takes, far below what a quadratic cost would."""


def in_turn(count: int) -> list[Row]:
    """Kernels of 4 ns, one every 10 ns, each launched a little before."""
    return [row for n in range(count) for row in launched(n, (10 * n, 10 * n + 3), (10 * n + 5, 10 * n + 9))]


def one_correlation_for_all() -> list[Row]:
    return [row for n in range(MANY) for row in launched(1, (10 * n, 10 * n + 2), (10 * n + 3, 10 * n + 8))]


def one_launch_of_all() -> list[Row]:
    return [call(LAUNCH, 0, 5, correlation=1), *[kernel(10 * n + 6, 10 * n + 9, 1) for n in range(MANY)]]


def work_without_length_at_once() -> list[Row]:
    return [call(LAUNCH, 0, 1, correlation=1), *[kernel(10, 10, 1) for _ in range(2 * MANY)]]


def work_without_length_in_turn() -> list[Row]:
    return [*[call(LAUNCH, 0, n, correlation=n) for n in range(MANY)], *[kernel(3 * n, 3 * n, n) for n in range(MANY)]]


def all_at_the_same_time() -> list[Row]:
    return [*[call(LAUNCH, 0, 1, correlation=n) for n in range(MANY)], *[kernel(0, 10**6, n) for n in range(MANY)]]


def nested_deep_then_flat() -> list[Row]:
    deep = [operator(f"op{n}", n, 4 * DEEP - n) for n in range(DEEP)]
    frames = [stack(f"a.py({n}): f", n, 4 * DEEP - n) for n in range(DEEP)]
    shifted = [
        Row(r.category, r.name, r.start + 4 * DEEP, r.end + 4 * DEEP, r.process, r.thread, r.fields)
        for r in in_turn(20_000)
    ]
    return [*deep, *frames, *shifted]


def launched_from_deep_within() -> list[Row]:
    deep = [operator(f"op{n}", n - DEEP, 10**6 - n) for n in range(DEEP)]
    return [*deep, *[stack(f"a.py({n}): f", n - DEEP, 10**6 - n) for n in range(DEEP)], *in_turn(DEEP)]


def overlapping_without_nesting() -> list[Row]:
    return [*[operator("op", 2 * n, 2 * n + 20_000) for n in range(20_000)], *in_turn(DEEP)]


def a_thread_for_each_launch() -> list[Row]:
    return [
        row
        for n in range(1_000)
        for row in (
            *launched(n, (100 * n, 100 * n + 3), (100 * n + 5, 100 * n + 9), thread=str(n)),
            operator("op", 100 * n - 9, 100 * n, thread=str(n)),
        )
    ]


def a_process_for_each_launch() -> list[Row]:
    return [
        row
        for n in range(2_000)
        for row in launched(n, (100 * n, 100 * n + 3), (100 * n + 5, 100 * n + 9), process=str(10_000 + n))
    ]


def a_device_for_each_launch() -> list[Row]:
    return [
        *[
            row
            for n in range(1_000)
            for row in launched(n, (100 * n, 100 * n + 3), (100 * n + 5, 100 * n + 9), device=n)
        ],
        *[mark(n, 1_000 * n, 1_000 * n + 1_000) for n in range(100)],
    ]


def a_stream_for_each_launch() -> list[Row]:
    return [row for n in range(10_000) for row in launched(n, (10 * n, 10 * n + 3), (10 * n + 5, 10 * n + 9), stream=n)]


def a_name_for_each_event() -> list[Row]:
    return [
        row
        for n in range(10_000)
        for row in (
            operator(f"op{n}", 100 * n, 100 * n + 60),
            stack(f"f{n}.py({n}): g{n}", 100 * n, 100 * n + 70),
            annotation(f"x{chr(97 + n % 26) * (n // 26)}"[:400], 100 * n + 75, 100 * n + 80),
            *launched(n, (100 * n + 40, 100 * n + 43), (100 * n + 55, 100 * n + 59), name=f"k{n}"),
        )
    ]


def a_step_for_each_launch() -> list[Row]:
    return [*[mark(n, 10 * n, 10 * n + 10) for n in range(MANY // 2)], *in_turn(MANY // 2)]


def waits_around_everything() -> list[Row]:
    return [*[call("cudaDeviceSynchronize", 0, 10**7) for _ in range(MANY)], *in_turn(MANY // 4)]


def much_profiler_work_and_many_threads() -> list[Row]:
    flushes = [host(Category.OVERHEAD, "flush", 10 * n, 10 * n + 9, thread="0", process="-1") for n in range(20_000)]
    return [*flushes, *a_thread_for_each_launch()]


def centuries() -> list[Row]:
    return [
        mark(1, -CENTURY, 0),
        mark(2, 0, CENTURY),
        operator("aten::add", -CENTURY, CENTURY),
        *launched(1, (-CENTURY, 5 - CENTURY), (10 - CENTURY, 20 - CENTURY)),
        *launched(2, (CENTURY - 100, CENTURY - 90), (CENTURY - 80, CENTURY)),
    ]


TRACES: tuple[Callable[[], list[Row]], ...] = (
    one_correlation_for_all,
    one_launch_of_all,
    work_without_length_at_once,
    work_without_length_in_turn,
    all_at_the_same_time,
    nested_deep_then_flat,
    launched_from_deep_within,
    overlapping_without_nesting,
    a_thread_for_each_launch,
    a_process_for_each_launch,
    a_device_for_each_launch,
    a_stream_for_each_launch,
    a_name_for_each_event,
    a_step_for_each_launch,
    waits_around_everything,
    much_profiler_work_and_many_threads,
    centuries,
)


@pytest.mark.parametrize("make", TRACES, ids=lambda make: make.__name__)
def test_every_ns_has_one_owner_and_soon(make: Callable[[], list[Row]]) -> None:
    made = trace(make())
    for window in ("steps", "device-span"):
        began = time.process_time()
        attribution = attribute(made, window=window)
        assert time.process_time() - began < SOON_S
        assert attribution.timelines
        for line in attribution.timelines:
            assert line.busy_ns + line.idle_ns == line.window_ns >= 0
            assert all(ns > 0 for ns in line.idle.values())
            assert all(ns >= 0 for ns in line.busy.values())
            for step in line.steps:
                assert sum(step.busy.values()) + sum(step.idle.values()) == step.end_ns - step.start_ns


def test_only_host_threads_and_very_many() -> None:
    made = trace([operator("aten::add", n, n + 9, thread=str(n)) for n in range(5_000)])
    began = time.process_time()
    (timeline,) = attribute(made).timelines
    assert time.process_time() - began < SOON_S
    assert timeline.busy["compute"] == 9


def test_events_without_a_name() -> None:
    """An absent name is no index of a string."""
    rows = [
        *launched(1, (0, 5), (10, 20)),
        *launched(2, (35, 38), (42, 50)),
        *[host(category, "", 0, 60) for category in (Category.OPERATOR, Category.ANNOTATION, Category.PYTHON)],
        host(Category.SAMPLE, "", 20, 30),
        host(Category.OS_CALL, "", 20, 30, thread="2"),
    ]
    nameless = trace(rows)
    nameless.columns["name"][:] = MISSING_SMALL
    attribution = attribute(nameless, window="device-span")
    assert dict(attribution.timelines[0].idle) == {"operator_dispatch": 15, "launch_overhead": 3, "launch_latency": 4}
    assert [(row.event, row.thread, row.ns) for row in attribution.blame] == [
        ("", "thread 1", 15),
        ("", "thread 1", 4),
        ("", "thread 1", 3),
    ]
