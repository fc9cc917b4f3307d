"""Whom idle time is owed to, and which threads were held up."""

from __future__ import annotations

from perfkit.attribute import attribute
from perfkit.model.attribution import Attribution, Blame, Blocked
from tests.unit.attribute.hand_made import (
    LAUNCH,
    MS,
    Row,
    annotation,
    call,
    copy,
    launched,
    loader,
    mark,
    operator,
    os_call,
    sample,
    stack,
    trace,
)

LOADER = "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"


def span(rows: list[Row]) -> Attribution:
    return attribute(trace(rows, names={("9", "1"): "thread 1 (main)"}), window="device-span")


def blamed(attribution: Attribution, cause: str) -> list[Blame]:
    return [entry for entry in attribution.blame if entry.cause == cause]


def gaps(*rows: Row) -> list[Row]:
    """Kernels at 0, 100 and 200, each 10 ns long and launched just before, and rows between them."""
    return [*rows, *[row for n in range(3) for row in launched(n, (100 * n - 3, 100 * n - 1), (100 * n, 100 * n + 10))]]


def test_events_of_one_name_are_one_with_the_line_of_the_longest() -> None:
    attribution = span(
        gaps(
            loader(20, 50),
            stack("train.py(7): fetch", 15, 60),
            loader(110, 180),
            stack("train.py(9): fetch_more", 105, 190),
        )
    )
    assert blamed(attribution, "data_loading") == [
        Blame("9/gpu0", "data_loading", LOADER, "thread 1 (main)", "train.py(9): fetch_more", 100, 2)
    ]


def test_what_is_blamed_adds_up_to_the_cause() -> None:
    rows = [
        call("cudaMalloc", 20, 30),
        call("cudaFree", 40, 45),
        operator("aten::add", 50, 99),
        operator("aten::mul", 150, 199),
    ]
    attribution = span(gaps(*rows))
    (timeline,) = attribution.timelines
    for cause in ("allocation", "operator_dispatch", "launch_overhead", "launch_latency"):
        assert sum(entry.ns for entry in blamed(attribution, cause)) == timeline.idle[cause]
    assert [(entry.event, entry.ns) for entry in blamed(attribution, "allocation")] == [
        ("cudaMalloc", 10),
        ("cudaFree", 5),
    ]
    assert not blamed(attribution, "unattributed_host_silent")


def test_the_outermost_operator_is_blamed_for_dispatch() -> None:
    attribution = span(gaps(operator("aten::linear", 20, 99), operator("aten::addmm", 30, 98)))
    assert [entry.event for entry in blamed(attribution, "operator_dispatch")] == ["aten::linear"]


def test_the_users_line_is_blamed_for_python() -> None:
    rows = [
        stack("train.py(1): main", 0, 300),
        stack("data.py(5): collate", 20, 60),
        stack("lib/python3.11/copy.py(9): deepcopy", 25, 55),
        annotation("tokenize", 110, 190),
    ]
    events = {(entry.event, entry.ns) for entry in blamed(span(gaps(*rows)), "python")}
    assert ("data.py(5): collate", 40) in events
    assert sum(ns for _, ns in events) == span(gaps(*rows)).timelines[0].idle["python"]


def test_a_sync_is_blamed_with_the_line_that_called_it() -> None:
    rows = [
        operator("aten::item", 2, 60, call_stack="train.py(33): log"),
        call("cudaStreamSynchronize", 5, 50),
    ]
    (entry,) = blamed(span(gaps(*rows)), "synchronization")
    assert (entry.event, entry.where, entry.ns, entry.gaps) == ("cudaStreamSynchronize", "train.py(33): log", 87, 1)


def test_of_each_cause_the_five_largest_are_kept() -> None:
    rows = [operator(f"aten::op{n}", 10 + 10 * n, 11 + 10 * n + n) for n in range(8)]
    entries = blamed(span(gaps(*rows)), "operator_dispatch")
    assert [entry.event for entry in entries] == [f"aten::op{n}" for n in (7, 6, 5, 4, 3)]


def test_threads_held_up_are_summed_as_unions_over_the_recording_of_the_host() -> None:
    rows = [
        *gaps(),
        call("cudaDeviceSynchronize", -50, 5),
        call("cudaStreamSynchronize", 20, 40),
        call("cudaStreamSynchronize", 150, 260),
        call("cudaMalloc", 60, 70, thread="2"),
        loader(80, 90, thread="2"),
        loader(85, 95, thread="2"),
        call("cudaMalloc", 60, 70, process="77"),
    ]
    assert span(rows).blocked == (
        Blocked("thread 1 (main)", "synchronization", 185, 3, 310),
        Blocked("thread 2", "data_loading", 15, 2, 310),
        Blocked("thread 2", "allocation", 10, 1, 310),
    )


def test_time_blocked_is_not_time_lost() -> None:
    """The host waits all the time for a device that is never idle."""
    rows = [
        *[row for n in range(5) for row in launched(n, (n, n + 1), (10 + 100 * n, 110 + 100 * n))],
        call("cudaDeviceSynchronize", 10, 505),
    ]
    attribution = span(rows)
    assert attribution.timelines[0].idle_ns == 0
    assert attribution.blame == ()
    assert [(entry.cause, entry.ns, entry.window_ns) for entry in attribution.blocked] == [
        ("synchronization", 495, 510)
    ]


def test_every_cause_of_blocking() -> None:
    rows = [
        *gaps(),
        call("cuModuleLoadData", 20, 25),
        stack("torch/_inductor/compile_fx.py(3): compile_fx_inner", 30, 40),
        call("cuDevicePrimaryCtxRetain", 41, 45),
        call("cudaMemcpy", 50, 62, correlation=70),
        copy(51, 60, 70, kind="DtoH (Device -> Pageable)", stream=9),
        call(LAUNCH, 205, 210 + 2 * MS, correlation=71),
        *launched(71, (0, 0), (220 + 2 * MS, 230 + 2 * MS), name="new")[1:],
    ]
    assert {entry.cause: (entry.ns, entry.calls) for entry in span(rows).blocked} == {
        "compilation": (15, 2),
        "initialization": (4 + 5 + 2 * MS, 2),
        "synchronization": (12, 1),
    }


def test_the_window_of_blocking_is_that_of_the_steps_on_the_host() -> None:
    rows = [
        mark(1, -5, 95),
        mark(2, 95, 195),
        mark(3, 195, 295),
        *gaps(call("cudaMalloc", 5, 50), call("cudaMalloc", 120, 130)),
    ]
    assert attribute(trace(rows)).blocked == (Blocked("thread 1", "allocation", 10, 1, 200),)


def test_the_operating_systems_call_is_blamed_for_waiting_and_a_function_for_code_that_was_sampled() -> None:
    rows = [
        os_call("poll", 20, 50),
        os_call("read", 55, 60),
        os_call("poll", 110, 130),
        sample("qsort", 140, 150, call_stack="sort.py(1): main;libc.so;qsort"),
        sample("memmove", 150, 155),
        sample("qsort", 155, 190, call_stack="sort.py(1): main;sort.py(7): sort;libc.so;qsort"),
    ]
    attribution = span(gaps(*rows))
    thread = "thread 1 (main)"
    assert blamed(attribution, "os_wait") == [
        Blame("9/gpu0", "os_wait", "poll", thread, "", 50, 2),
        Blame("9/gpu0", "os_wait", "read", thread, "", 5, 1),
    ]
    assert blamed(attribution, "host_code") == [
        Blame("9/gpu0", "host_code", "qsort", thread, "sort.py(7): sort", 45, 1),
        Blame("9/gpu0", "host_code", "memmove", thread, "", 5, 1),
    ]


def test_waits_inside_calls_and_loaders_block_only_once() -> None:
    rows = [
        *gaps(),
        call("cudaDeviceSynchronize", 20, 40),
        os_call("poll", 21, 39),
        loader(50, 80),
        os_call("read", 50, 60),
        os_call("futex", 85, 90),
        os_call("poll", 0, 210, thread="2"),
        annotation("worker", 0, 5, thread="2"),
        os_call("poll", 0, 210, thread="3"),
    ]
    assert [(entry.thread, entry.cause, entry.ns, entry.calls) for entry in span(rows).blocked] == [
        ("thread 2", "os_wait", 210, 1),
        ("thread 1 (main)", "data_loading", 30, 1),
        ("thread 1 (main)", "synchronization", 20, 1),
        ("thread 1 (main)", "os_wait", 5, 1),
    ]
