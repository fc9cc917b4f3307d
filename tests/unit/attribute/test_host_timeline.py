"""Traces without device activity: the busiest host thread, in the same vocabulary."""

from __future__ import annotations

import pytest

from perfkit.attribute import attribute
from perfkit.model.trace import Category
from tests.unit.attribute.hand_made import (
    LAUNCH,
    Row,
    annotation,
    call,
    host,
    loader,
    mark,
    operator,
    os_call,
    sample,
    stack,
    trace,
)

Case = tuple[list[Row], dict[str, int], dict[str, int]]

# What is spent in a window from 0 to 100: busy classes, then idle causes.
FRAME = stack("train.py(1): main", 0, 100)
CASES: dict[str, Case] = {
    "operators": ([FRAME, operator("aten::mm", 10, 60)], {"compute": 50}, {"python": 50}),
    "operators inside operators": (
        [FRAME, operator("aten::linear", 10, 60), operator("aten::mm", 20, 50)],
        {"compute": 50},
        {"python": 50},
    ),
    "loading data, with operators in it": (
        [FRAME, loader(10, 40), operator("aten::stack", 20, 30), operator("aten::mm", 50, 60)],
        {"compute": 10},
        {"data_loading": 30, "python": 60},
    ),
    "compiling, with operators in it": (
        [FRAME, operator("compile_fx (dynamo_timed)", 10, 40), operator("aten::mm", 20, 60)],
        {"compute": 20},
        {"compilation": 30, "python": 50},
    ),
    "a collective": (
        [FRAME, operator("c10d::allreduce_", 10, 40), operator("aten::mm", 30, 60)],
        {"compute": 20, "exposed_communication": 30},
        {"python": 50},
    ),
    "a collective by its annotation": (
        [FRAME, annotation("gloo:all_reduce", 10, 40)],
        {"exposed_communication": 30},
        {"python": 70},
    ),
    "an annotation outside operators": (
        [operator("aten::mm", 0, 10), annotation("forward", 5, 30), operator("aten::mm", 90, 100)],
        {"compute": 20},
        {"python": 20, "unattributed_host_silent": 60},
    ),
    "the profiler's own work": (
        [operator("aten::mm", 0, 10), host(Category.OVERHEAD, "flush", 5, 30), operator("aten::mm", 90, 100)],
        {"compute": 20},
        {"profiler_overhead": 20, "unattributed_host_silent": 60},
    ),
    "waiting in the operating system": (
        [FRAME, loader(10, 30), os_call("poll", 20, 50), operator("aten::mm", 45, 60), os_call("read", 90, 95)],
        {"compute": 15},
        {"data_loading": 20, "os_wait": 20, "python": 45},
    ),
    "code that was only sampled": (
        [sample("main", 0, 10), sample("qsort", 10, 60), annotation("load", 5, 20), os_call("nanosleep", 50, 100)],
        {"compute": 35},
        {"os_wait": 50, "python": 15},
    ),
    "waiting to be given work": (
        [
            stack("concurrent/futures/thread.py(9): _worker", 0, 100),
            stack("app.py(1): answer", 10, 60),
            stack("threading.py(3): Condition.wait", 20, 30),  # for whatever: the line that waits is to be seen
            stack("queue.py(5): Queue.get", 70, 90),
            stack("threading.py(3): Condition.wait", 72, 88),
            operator("aten::mm", 50, 55),
        ],
        {"compute": 5},
        {"no_work": 50, "python": 45},
    ),
    "requests of other threads": (
        [
            *[annotation(f"perfkit.request #{name}", 20 * name, 20 * name + 20) for name in range(5)],
            annotation("perfkit.request.work #0", 5, 15, thread="2"),
            annotation("perfkit.request.work #3", 60, 70, thread="2"),
            operator("aten::mm", 6, 12, thread="2"),
            operator("aten::mm", 64, 66, thread="2"),
            annotation("around", 0, 100, thread="2"),
        ],
        {"compute": 8},
        {"no_request": 80, "python": 12},
    ),
    "requests within which a thread has operators": (
        [
            *[annotation(f"perfkit.request #{name}", 20 * name, 20 * name + 20, thread="2") for name in range(5)],
            annotation("around", 0, 100),
            operator("aten::mm", 6, 12),
            operator("aten::mm", 64, 66),
        ],
        {"compute": 8},
        {"no_request": 60, "python": 32},
    ),
    "what other threads do": (
        [FRAME, operator("aten::mm", 10, 60), operator("aten::mm", 0, 30, thread="2"), loader(60, 90, thread="2")],
        {"compute": 50},
        {"python": 50},
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("turned", [False, True])
def test_time_on_the_thread(case: str, turned: bool) -> None:
    rows, busy, idle = CASES[case]
    (timeline,) = attribute(trace(rows[::-1] if turned else rows), window="device-span").timelines
    assert {name: ns for name, ns in timeline.busy.items() if ns} == busy
    assert dict(timeline.idle) == idle
    assert (timeline.kind, timeline.window_kind, timeline.window_ns, timeline.device) == (
        "host_thread",
        "host-span",
        100,
        -1,
    )
    assert timeline.busy_ns + timeline.idle_ns == timeline.window_ns


def test_a_wait_of_a_thread_that_makes_steps_holds_them_up() -> None:
    rows = [mark(1, 0, 50), operator("aten::mm", 10, 20), stack("queue.py(5): Queue.get", 0, 50)]
    (timeline,) = attribute(trace(rows)).timelines
    assert dict(timeline.idle) == {"python": 40}


def test_the_busiest_thread_of_stacks_is_not_the_one_that_waits_longest() -> None:
    rows = [
        stack("queue.py(5): Queue.get", 0, 100),
        stack("selectors.py(5): EpollSelector.select", 0, 99, thread="2"),
        stack("app.py(1): serve", 0, 5, thread="3"),
    ]
    (timeline,) = attribute(trace(rows)).timelines
    assert timeline.id == "9/thread 3"


def test_a_step_lasts_until_the_next_mark() -> None:
    rows = [
        mark(1, 0, 30),
        mark(2, 30, 60),
        mark(3, 70, 100),
        operator("aten::mm", 20, 40),
        operator("aten::mm", 65, 90),
        loader(40, 55),
        operator("aten::mm", 120, 150),
    ]
    attribution = attribute(trace(rows))
    (timeline,) = attribution.timelines
    assert [(step.name, step.start_ns, step.end_ns) for step in timeline.steps] == [
        ("ProfilerStep#2", 30, 70),
        ("ProfilerStep#3", 70, 100),
    ]
    assert [dict(step.busy)["compute"] for step in timeline.steps] == [15, 20]
    assert [dict(step.idle) for step in timeline.steps] == [
        {"data_loading": 15, "python": 5, "unattributed_host_silent": 5},
        {"python": 10},
    ]
    assert timeline.busy["compute"] == 35
    assert (attribution.window.kind, attribution.window.source) == ("steps", "ProfilerStep#")
    assert attribution.window.dropped == ("ProfilerStep#1",)
    assert timeline.confidence == "medium"


def test_the_only_step_is_kept() -> None:
    attribution = attribute(trace([mark(1, 10, 30), operator("aten::mm", 0, 40)]))
    (timeline,) = attribution.timelines
    assert (timeline.start_ns, timeline.end_ns, timeline.confidence) == (10, 30, "low")
    assert attribution.window.dropped == ()


def test_the_busiest_thread_is_the_one_with_most_time_in_operators() -> None:
    rows = [
        stack("main.py(1): wait", 0, 100),
        *[operator("aten::view", n, n + 1) for n in range(0, 20, 2)],
        operator("aten::mm", 50, 80, thread="2"),
        operator("aten::mm", 55, 70, thread="2"),
        operator("aten::mm", 55, 70, thread="2"),
        annotation("gloo:all_reduce", 0, 99, thread="3"),
    ]
    (timeline,) = attribute(trace(rows)).timelines
    assert (timeline.id, timeline.busy["compute"], timeline.window_ns) == ("9/thread 2", 30, 30)


def test_the_thread_that_makes_the_steps_comes_before_a_busier_one() -> None:
    rows = [
        *[mark(number, 20 * number, 20 * number + 20) for number in range(4)],
        *[loader(20 * number, 20 * number + 15) for number in range(4)],
        *[operator("aten::mm", 20 * number + 15, 20 * number + 17) for number in range(4)],
        operator("aten::mm", 0, 70, thread="2"),
    ]
    (timeline,) = attribute(trace(rows)).timelines
    assert timeline.id == "9/thread 1"
    assert timeline.idle["data_loading"] == 45


@pytest.mark.parametrize(
    "busy",
    [operator("aten::mm", 10, 12, thread="2"), sample("main", 10, 12, thread="2"), annotation("x", 10, 12, thread="2")],
    ids=["operator", "sample", "annotation"],
)
def test_to_wait_in_the_operating_system_is_not_to_be_busy(busy: Row) -> None:
    (timeline,) = attribute(trace([os_call("poll", 0, 100), busy])).timelines
    assert (timeline.id, timeline.window_ns) == ("9/thread 2", 2)


def test_a_sampled_thread_is_busier_than_one_in_an_open_range() -> None:
    rows = [annotation("main", 0, 90), sample("a", 10, 40, thread="2"), sample("b", 45, 50, thread="3")]
    (timeline,) = attribute(trace(rows)).timelines
    assert (timeline.id, timeline.busy["compute"]) == ("9/thread 2", 30)


def test_a_thread_that_only_waits_is_shown_where_there_is_no_other() -> None:
    (timeline,) = attribute(trace([os_call("poll", 0, 100)])).timelines
    assert (timeline.busy_ns, dict(timeline.idle)) == (0, {"os_wait": 100})


def test_without_operators_any_thread_with_events_will_do() -> None:
    (timeline,) = attribute(trace([stack("main.py(1): wait", 5, 100)])).timelines
    assert dict(timeline.idle) == {"python": 95}


def test_launches_without_activity_are_a_defect() -> None:
    rows = [
        operator("aten::mm", 0, 20),
        call(LAUNCH, 5, 6, correlation=1),
        call("cudaMemcpyAsync", 8, 9, correlation=2),
    ]
    attribution = attribute(trace(rows))
    assert attribution.timelines[0].kind == "host_thread"
    assert [(defect.kind, defect.count) for defect in attribution.defects] == [("no_device_activity", 2)]


def test_operators_are_summed_by_their_own_time() -> None:
    rows = [
        operator("aten::linear", 0, 50),
        operator("aten::mm", 10, 30),
        operator("aten::mm", 60, 70),
        operator("aten::linear", 200, 250, thread="2"),
    ]
    found = attribute(trace(rows)).operators
    assert [(row.name, row.calls, row.host_ns, row.device_ns, row.launches) for row in found] == [
        ("aten::linear", 1, 30, 0, 0),
        ("aten::mm", 2, 30, 0, 0),
    ]
