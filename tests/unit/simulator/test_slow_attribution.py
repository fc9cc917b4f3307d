"""The slow attribution against cases worked out by hand. Times are microseconds in the rows, ns in the answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.slow_attribution import attribute_file, listing

if TYPE_CHECKING:
    from pathlib import Path

Rows = list[dict[str, Any]]
US = 1000


def host(category: str, name: str, start: float, end: float, tid: int = 1, **args: object) -> dict[str, Any]:
    return {
        "ph": "X",
        "cat": category,
        "name": name,
        "pid": 9,
        "tid": tid,
        "ts": start,
        "dur": end - start,
        "args": args,
    }


def call(name: str, start: float, end: float, correlation: int, tid: int = 1) -> dict[str, Any]:
    return host("cuda_runtime", name, start, end, tid, correlation=correlation)


def work(
    start: float, end: float, correlation: int, stream: int = 7, name: str = "k", **args: object
) -> dict[str, Any]:
    category = "gpu_memcpy" if name.startswith("Memcpy") else "kernel"
    args |= {"device": 0, "stream": stream, "correlation": correlation}
    return {
        "ph": "X",
        "cat": category,
        "name": name,
        "pid": 0,
        "tid": stream,
        "ts": start,
        "dur": end - start,
        "args": args,
    }


LAUNCH = "cudaLaunchKernel"
FIRST = [call(LAUNCH, 0, 5, 1), work(10, 20, 1)]
SECOND = [call(LAUNCH, 35, 38, 2), work(42, 50, 2)]
SECOND_OPERATOR = host("cpu_op", "aten::add", 15, 40)

CASES: dict[str, tuple[Rows, dict[str, int]]] = {
    "in its stream's queue": ([call(LAUNCH, 6, 8, 2), work(25, 30, 2)], {"queued_same_stream": 5}),
    "returned as the gap began": ([call(LAUNCH, 6, 20, 2), work(25, 30, 2)], {"queued_same_stream": 5}),
    "waiting for another stream": ([call(LAUNCH, 6, 8, 2), work(25, 30, 2, stream=8)], {"queued_cross_stream": 5}),
    "in a graph": ([call("cudaGraphLaunch", 6, 8, 2), work(25, 30, 2)], {"queued_in_graph": 5}),
    "in an operator": (
        [SECOND_OPERATOR, *SECOND],
        {"operator_dispatch": 15, "launch_overhead": 3, "launch_latency": 4},
    ),
    "with nothing open": (SECOND, {"unattributed_host_silent": 15, "launch_overhead": 3, "launch_latency": 4}),
    "still launching": (
        [call(LAUNCH, 35, 48, 2), work(42, 50, 2)],
        {"unattributed_host_silent": 15, "launch_overhead": 7},
    ),
    "after a sync that was open": (
        [SECOND_OPERATOR, call("cudaStreamSynchronize", 12, 22, 3), *SECOND],
        {"synchronization": 15, "launch_overhead": 3, "launch_latency": 4},
    ),
    "with a sync that came later": (
        [SECOND_OPERATOR, call("cudaStreamSynchronize", 21, 30, 3), *SECOND],
        {"operator_dispatch": 15, "launch_overhead": 3, "launch_latency": 4},
    ),
    "loading after a sync": (
        [
            call("cudaDeviceSynchronize", 12, 22, 3),
            host("user_annotation", "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__", 23, 33),
            *SECOND,
        ],
        {"data_loading": 10, "synchronization": 5, "launch_overhead": 3, "launch_latency": 4},
    ),
    "allocation inside an operator": (
        [SECOND_OPERATOR, call("cudaMalloc", 24, 30, 3), *SECOND],
        {"allocation": 6, "operator_dispatch": 9, "launch_overhead": 3, "launch_latency": 4},
    ),
    "python outside operators": (
        [host("python_function", "a.py(1): f", 0, 90), host("cpu_op", "aten::view", 22, 25), *SECOND],
        {"python": 12, "operator_dispatch": 3, "launch_overhead": 3, "launch_latency": 4},
    ),
    "an Operator of 2021 without colons": (
        [host("Operator", "Optimizer.step#SGD.step", 0, 90), host("Operator", "aten::mul", 30, 41), *SECOND],
        {"python": 10, "operator_dispatch": 5, "launch_overhead": 3, "launch_latency": 4},
    ),
    "on another thread": (
        [host("cpu_op", "aten::add", 15, 40, tid=2), *SECOND],
        {"unattributed_host_silent": 15, "launch_overhead": 3, "launch_latency": 4},
    ),
    "a long operator that launches nothing": (
        [
            host("cpu_op", "aten::sort", 30, 1530),
            host("cpu_op", "aten::view", 100, 200),
            call(LAUNCH, 1600, 1603, 2),
            work(1610, 1620, 2),
        ],
        {"unattributed_host_silent": 80, "host_compute": 1500, "launch_overhead": 3, "launch_latency": 7},
    ),
    "a kernel's first launch": (
        [call(LAUNCH, 20, 1520, 2), work(1525, 1530, 2, name="new"), call(LAUNCH, 1530, 3530, 3), work(3530, 3531, 3)],
        {"initialization": 1500, "launch_latency": 5, "launch_overhead": 2000},
    ),
    "after a copy that blocked": (
        [
            call("cudaMemcpyAsync", 18, 26, 3),
            work(20, 24, 3, name="Memcpy DtoH (Device -> Pageable)"),
            call(LAUNCH, 35, 38, 2),
            work(42, 50, 2),
        ],
        {"synchronization": 11, "launch_overhead": 3, "launch_latency": 4},
    ),
    "before work of no recorded launch": ([work(25, 30, 99)], {"unattributed_no_launch": 5}),
    "cut by empty work": (
        [call(LAUNCH, 6, 8, 2), work(22, 22, 2, stream=8), call(LAUNCH, 8, 9, 3), work(26, 30, 3, stream=8)],
        {"queued_cross_stream": 2, "queued_same_stream": 4},
    ),
    "ended by two at once": (
        [call(LAUNCH, 6, 8, 2), work(25, 30, 2), call(LAUNCH, 8, 9, 3), work(25, 31, 3, stream=8)],
        {"queued_same_stream": 5},
    ),
}


def save(path: Path, rows: Rows) -> Path:
    path.write_text(json.dumps({"traceEvents": rows}), "utf-8")
    return path


@pytest.mark.parametrize("case", CASES)
def test_idle(case: str, tmp_path: Path) -> None:
    rows, idle = CASES[case]
    (timeline,) = attribute_file(save(tmp_path / "t.json", FIRST + rows), "device-span")
    assert timeline.idle == {cause: us * US for cause, us in idle.items()}
    assert sum(timeline.busy.values()) + sum(timeline.idle.values()) == timeline.end - timeline.start


def test_busy_classes_in_their_precedence(tmp_path: Path) -> None:
    rows = [work(0, 10, 1), work(5, 20, 2, 8, "ncclDevKernel_AllReduce"), work(15, 30, 3, 9, "Memcpy HtoD (a -> b)")]
    (timeline,) = attribute_file(save(tmp_path / "t.json", rows), "device-span")
    assert timeline.busy == {"compute": 10 * US, "exposed_communication": 10 * US, "exposed_copy": 10 * US}


def steps_of(tmp_path: Path, marks: Rows) -> list[tuple[str, int, int]]:
    rows = [*marks, call(LAUNCH, 1, 2, 1), work(5, 9, 1)]
    rows += [r for n in (2, 3, 4) for r in (call(LAUNCH, 10 * n, 10 * n + 1, n), work(10 * n + 8, 10 * n + 12, n))]
    timelines = attribute_file(save(tmp_path / "t.json", rows), "steps")
    return [(name, start // US, end // US) for t in timelines for name, start, end in t.steps]


def mark(number: int, start: float, end: float) -> dict[str, Any]:
    return host("user_annotation", f"ProfilerStep#{number}", start, end)


def test_steps_end_with_the_last_activity_launched_in_them(tmp_path: Path) -> None:
    assert steps_of(tmp_path, []) == []
    # The first is dropped. The launch at 30 is already of step 3; the one at 40 comes after the last mark: of none.
    assert steps_of(tmp_path, [mark(1, 0, 15), mark(2, 15, 30), mark(3, 30, 35)]) == [
        ("ProfilerStep#2", 9, 32),
        ("ProfilerStep#3", 32, 42),
    ]


def test_a_step_alone_is_kept(tmp_path: Path) -> None:
    assert steps_of(tmp_path, [mark(7, 15, 33)]) == [("ProfilerStep#7", 9, 42)]
    assert steps_of(tmp_path, [mark(7, 0, 25)]) == [("ProfilerStep#7", 5, 32)]


def test_the_listing_names_each_gap(tmp_path: Path) -> None:
    (timeline,) = attribute_file(save(tmp_path / "t.json", FIRST + SECOND), "device-span")
    assert "before k (cudaLaunchKernel on 1)" in listing(timeline, 0)[-1]
    assert len(listing(timeline, 10**9)) == len(listing(timeline, 0)) - 1
