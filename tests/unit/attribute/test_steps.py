"""Steps: which marks are found, and which stretches of device time they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from perfkit.attribute import attribute
from tests.unit.attribute.hand_made import Row, annotation, call, kernel, launched, mark, operator, trace

if TYPE_CHECKING:
    from perfkit.model.attribution import Attribution, Timeline


def steps_of(timeline: Timeline) -> list[tuple[str, int, int]]:
    return [(step.name, step.start_ns, step.end_ns) for step in timeline.steps]


def found(rows: list[Row]) -> tuple[Attribution, Timeline]:
    attribution = attribute(trace(rows))
    (timeline,) = attribution.timelines
    for step in timeline.steps:
        assert sum(step.busy.values()) + sum(step.idle.values()) == step.end_ns - step.start_ns
    return attribution, timeline


# Launches at 1, 20, 30 and 40; each one's kernel ends 12 ns after it begins.
WORK = [
    *launched(1, (1, 2), (5, 9)),
    *[row for n in (2, 3, 4) for row in launched(n, (10 * n, 10 * n + 1), (10 * n + 8, 10 * n + 12))],
]


def test_a_step_ends_with_the_last_activity_launched_in_it() -> None:
    """The launch at 30 begins with its mark, so it is of that step; the one at 40 comes after the last mark."""
    attribution, timeline = found([*WORK, mark(1, 0, 15), mark(2, 15, 30), mark(3, 30, 35)])
    assert steps_of(timeline) == [("ProfilerStep#2", 9, 32), ("ProfilerStep#3", 32, 42)]
    assert (timeline.start_ns, timeline.end_ns, timeline.window_kind) == (9, 42, "steps")
    assert (attribution.window.source, attribution.window.dropped) == ("ProfilerStep#", ("ProfilerStep#1",))
    assert (timeline.confidence, timeline.confidence_reason) == ("high", "")


def test_the_only_step_is_kept_and_little_is_believed_of_it() -> None:
    attribution, timeline = found([*WORK, mark(7, 15, 33)])
    assert steps_of(timeline) == [("ProfilerStep#7", 9, 42)]
    assert attribution.window.dropped == ()
    assert timeline.confidence == "low"


def test_a_first_step_without_work_before_it_begins_with_its_own_first_activity() -> None:
    _, timeline = found([*WORK, mark(7, 0, 25)])
    assert steps_of(timeline) == [("ProfilerStep#7", 5, 32)]


def test_a_host_that_runs_ahead() -> None:
    """Both steps are launched before the device has finished the first: host marks would be the wrong window."""
    rows = [
        *[mark(n, 10 * n, 10 * n + 10) for n in range(4)],
        *[row for n in range(4) for row in launched(n, (10 * n + 1, 10 * n + 2), (100 * n + 5, 100 * n + 100))],
    ]
    _, timeline = found(rows)
    assert steps_of(timeline) == [
        ("ProfilerStep#1", 100, 200),
        ("ProfilerStep#2", 200, 300),
        ("ProfilerStep#3", 300, 400),
    ]
    assert dict(timeline.idle) == {"queued_same_stream": 15}
    assert [dict(step.idle) for step in timeline.steps] == [{"queued_same_stream": 5}] * 3


def test_steps_that_launched_nothing_are_not_steps_of_the_device() -> None:
    marks = [mark(1, 0, 5), mark(2, 5, 12), mark(3, 12, 18), mark(4, 18, 25), mark(5, 25, 28), mark(6, 28, 35)]
    attribution, timeline = found([*WORK, *marks])
    assert steps_of(timeline) == [("ProfilerStep#4", 9, 32), ("ProfilerStep#6", 32, 42)]
    assert attribution.window.dropped == ("ProfilerStep#1",)


def test_marks_without_any_launch_in_them_leave_the_device_span() -> None:
    attribution, timeline = found([*WORK, mark(1, 100, 110), mark(2, 110, 120)])
    assert steps_of(timeline) == []
    assert (timeline.window_kind, timeline.start_ns, timeline.end_ns) == ("device-span", 5, 52)
    assert attribution.window.kind == "device-span"


def test_work_between_marks_belongs_to_the_mark_before() -> None:
    _, timeline = found([*WORK, mark(1, 0, 5), mark(2, 15, 22), mark(3, 38, 60)])
    assert steps_of(timeline) == [("ProfilerStep#2", 9, 42), ("ProfilerStep#3", 42, 52)]


def test_the_device_span_has_no_steps() -> None:
    (timeline,) = attribute(trace([*WORK, mark(1, 0, 15), mark(2, 15, 30)]), window="device-span").timelines
    assert (steps_of(timeline), timeline.window_kind, timeline.start_ns, timeline.end_ns) == ([], "device-span", 5, 52)


def test_marks_of_another_process_are_not_this_ones() -> None:
    rows = [*WORK, mark(1, 0, 15, process="77"), mark(2, 15, 60, process="77")]
    assert found(rows)[1].window_kind == "device-span"


def test_each_device_has_its_own_steps() -> None:
    rows = [*WORK, *launched(8, (50, 51), (60, 90), device=1), mark(1, 0, 15), mark(2, 15, 45), mark(3, 45, 99)]
    one, other = attribute(trace(rows)).timelines
    assert steps_of(one) == [("ProfilerStep#2", 9, 52)]
    assert steps_of(other) == [("ProfilerStep#3", 60, 90)]


def test_work_of_no_recorded_launch_is_in_the_window_but_bounds_no_step() -> None:
    rows = [*WORK, kernel(33, 37), kernel(70, 80), mark(1, 0, 15), mark(2, 15, 30), mark(3, 30, 35)]
    _, timeline = found(rows)
    assert steps_of(timeline)[-1] == ("ProfilerStep#3", 32, 42)
    assert timeline.unlinked_activities == 2
    assert timeline.busy["compute"] == 12


def test_the_optimizer_ends_a_step() -> None:
    rows = [
        *[row for n in range(4) for row in launched(n, (10 * n + 1, 10 * n + 2), (10 * n + 3, 10 * n + 9))],
        *[annotation("Optimizer.step#SGD.step", 10 * n + 1, 10 * n + 5) for n in range(1, 4)],
        annotation("Optimizer.zero_grad#SGD.zero_grad", 5, 6),
    ]
    attribution, timeline = found(rows)
    assert attribution.window.source == "Optimizer.step"
    assert steps_of(timeline) == [("step 1", 19, 29), ("step 2", 29, 39)]
    assert attribution.window.dropped == ("step 0",)


def test_the_only_optimizer_step_is_the_end_of_all_that_came_before() -> None:
    rows = [
        operator("aten::linear", 0, 4),
        *launched(1, (1, 2), (3, 9)),
        *launched(2, (11, 12), (13, 19)),
        annotation("Optimizer.step#SGD.step", 21, 25),
        *launched(3, (21, 22), (23, 29)),
        *launched(4, (31, 32), (33, 39)),
    ]
    assert steps_of(found(rows)[1]) == [("step 0", 3, 29)]


def test_step_marks_are_believed_before_the_optimizer() -> None:
    rows = [*WORK, *[annotation("Optimizer.step#SGD.step", 10 * n, 10 * n + 5) for n in range(4)]]
    assert found(rows)[0].window.source == "Optimizer.step"
    assert found([*rows, mark(1, 0, 15), mark(2, 15, 45)])[0].window.source == "ProfilerStep#"


def iterations(name: str, count: int = 4) -> list[Row]:
    """`count` annotations of 10 ns, of which each has a kernel."""
    return [
        row
        for n in range(count)
        for row in (
            annotation(name.format(n), 10 * n, 10 * n + 9),
            *launched(n, (10 * n + 1, 10 * n + 2), (10 * n + 3, 10 * n + 8)),
        )
    ]


@pytest.mark.parametrize("name", ["train_step", "iteration {}", "step-{}-of-4", "## step {} ##"])
def test_an_annotation_that_repeats_and_covers_most_of_the_time(name: str) -> None:
    attribution, timeline = found(iterations(name))
    assert steps_of(timeline) == [(name.format(n), 10 * n - 2, 10 * n + 8) for n in (1, 2, 3)]
    assert attribution.window.source == name.format("#").replace("4", "#")


@pytest.mark.parametrize(
    "rows",
    [
        iterations("train_step", count=2),
        [*iterations("train_step"), annotation("everything", 0, 200)],
        [annotation("train_step", 0, 30), annotation("train_step", 10, 40), annotation("train_step", 20, 50), *WORK],
        iterations("enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"),
        iterations("nccl:all_reduce"),
        iterations("DistributedDataParallel.forward"),
        iterations("Torch-Compiled Region: {}/0"),
        WORK,
    ],
    ids=["twice", "short", "overlapping", "loader", "collective", "ddp", "compiled", "none"],
)
def test_no_steps(rows: list[Row]) -> None:
    attribution, timeline = found(rows)
    assert (attribution.window.source, timeline.window_kind, steps_of(timeline)) == ("none", "device-span", [])


def test_of_two_that_repeat_the_one_that_covers_most_counts() -> None:
    inner = [annotation("forward", 10 * n + 1, 10 * n + 7) for n in range(4)]
    assert found([*inner, *iterations("train_step")])[0].window.source == "train_step"


def test_before_the_epoch() -> None:
    """Times of a trace may be negative: nothing is special about 0."""
    rows = [*WORK, mark(1, 0, 15), mark(2, 15, 30), mark(3, 30, 35)]
    shifted = [Row(r.category, r.name, r.start - 33, r.end - 33, r.process, r.thread, r.fields) for r in rows]
    _, timeline = found(shifted)
    assert steps_of(timeline) == [("ProfilerStep#2", 9 - 33, 32 - 33), ("ProfilerStep#3", 32 - 33, 42 - 33)]


def test_lead_in_and_lead_out_are_beside_the_window() -> None:
    rows = [operator("aten::setup", -100, -50), call("cudaMalloc", -40, -30), *WORK, operator("aten::after", 60, 75)]
    (timeline,) = attribute(trace(rows), window="device-span").timelines
    assert (timeline.lead_in_ns, timeline.lead_out_ns) == (105, 23)
    assert timeline.window_ns == 47
