"""Every idle rule by itself: each gap below lies between the end of one kernel and the start of the next."""

from __future__ import annotations

import pytest

from perfkit.attribute import attribute
from perfkit.model.trace import Category
from tests.unit.attribute.hand_made import (
    LAUNCH,
    MS,
    Row,
    annotation,
    call,
    copy,
    host,
    kernel,
    launched,
    loader,
    mark,
    memset,
    operator,
    os_call,
    sample,
    stack,
    trace,
)

Case = tuple[list[Row], dict[str, int]]

# The gap of most cases: 20 to 42, before a kernel whose launch call is 35 to 38, on the same thread.
BEFORE = launched(1, (0, 5), (10, 20))
AFTER = launched(2, (35, 38), (42, 50))
RETURNED = {"launch_overhead": 3, "launch_latency": 4}


def one(correlation: int, call_ns: tuple[int, int], kernel_ns: tuple[int, int], name: str = LAUNCH) -> list[Row]:
    return [call(name, *call_ns, correlation=correlation), kernel(*kernel_ns, correlation)]


QUEUED: dict[str, Case] = {
    "behind its own stream": (one(2, (6, 8), (25, 30)), {"queued_same_stream": 5}),
    "its launch returned just as the gap began": (one(2, (6, 20), (25, 30)), {"queued_same_stream": 5}),
    "its launch returned one ns later": (one(2, (6, 21), (25, 30)), {"launch_overhead": 1, "launch_latency": 4}),
    "behind another stream": (
        [call(LAUNCH, 6, 8, correlation=2), kernel(25, 30, 2, stream=9)],
        {"queued_cross_stream": 5},
    ),
    "behind its own stream, that ended with another": (
        [*launched(3, (6, 7), (12, 20), stream=9), call(LAUNCH, 7, 8, correlation=2), kernel(25, 30, 2, stream=9)],
        {"queued_same_stream": 5},
    ),
    "in a graph": (one(2, (6, 8), (25, 30), "cudaGraphLaunch"), {"queued_in_graph": 5}),
    "in a HIP graph": (one(2, (6, 8), (25, 30), "hipGraphLaunch"), {"queued_in_graph": 5}),
    "a copy in its stream's queue": (
        [call("cudaMemcpyAsync", 6, 8, correlation=2), copy(25, 30, 2)],
        {"queued_same_stream": 5},
    ),
    "a memset in its stream's queue": (
        [call("cudaMemsetAsync", 6, 8, correlation=2), memset(25, 30, 2)],
        {"queued_same_stream": 5},
    ),
    "cut by work of no length": (
        [call(LAUNCH, 6, 8, correlation=2), kernel(22, 22, 2, stream=8), *launched(3, (8, 9), (26, 30), stream=8)],
        {"queued_cross_stream": 2, "queued_same_stream": 4},
    ),
    "ended by two at once: the lower correlation decides": (
        [*launched(3, (30, 31), (25, 31), stream=8), *launched(2, (6, 8), (25, 30))],
        {"queued_same_stream": 5},
    ),
}

LATE: dict[str, Case] = {
    "nothing recorded on the thread": (AFTER, RETURNED | {"unattributed_host_silent": 15}),
    "inside an operator that launches": (
        [operator("aten::add", 15, 40), *AFTER],
        RETURNED | {"operator_dispatch": 15},
    ),
    "the call outlasts the gap": (
        one(2, (35, 48), (42, 50)),
        {"unattributed_host_silent": 15, "launch_overhead": 7},
    ),
    "the call seems to begin after its kernel": (one(2, (45, 48), (42, 50)), {"unattributed_host_silent": 22}),
    "loading data": ([loader(21, 31), *AFTER], RETURNED | {"data_loading": 10, "unattributed_host_silent": 5}),
    "waiting for a loader's workers": (
        [loader(15, 35, workers=True), *AFTER],
        RETURNED | {"data_loading": 15},
    ),
    "loading data, with all else inside it": (
        [
            loader(20, 35),
            operator("aten::stack", 20, 35),
            call("cudaMalloc", 22, 30),
            stack("a.py(1): f", 0, 60),
            *AFTER,
        ],
        RETURNED | {"data_loading": 15},
    ),
    "a loader's mark of our own": (
        [annotation("perfkit.loader", 20, 35), *AFTER],
        RETURNED | {"data_loading": 15},
    ),
    "a loader's name alone is no loading": (
        [annotation("DataLoader worker started", 20, 35), *AFTER],
        RETURNED | {"python": 15},
    ),
    "allocating, inside an operator": (
        [operator("aten::empty", 15, 40), call("cudaMalloc", 24, 30), *AFTER],
        RETURNED | {"allocation": 6, "operator_dispatch": 9},
    ),
    "freeing": ([call("hipFree", 20, 35), *AFTER], RETURNED | {"allocation": 15}),
    "mapping memory by the driver": ([call("cuMemMap", 20, 35), *AFTER], RETURNED | {"allocation": 15}),
    "allocating pinned memory": ([call("cudaHostAlloc", 20, 35), *AFTER], RETURNED | {"allocation": 15}),
    "loading a module": ([call("cuModuleLoadData", 20, 35), *AFTER], RETURNED | {"compilation": 15}),
    "loading a module inside a launch": (
        [call("cuModuleLoadData", 35, 37), *AFTER],
        {"unattributed_host_silent": 15, "compilation": 2, "launch_overhead": 1, "launch_latency": 4},
    ),
    "compiling with Triton": (
        [annotation("triton_compile: fused_add", 20, 35), *AFTER],
        RETURNED | {"compilation": 15},
    ),
    "compiling with Inductor": (
        [operator("inductor.compile_fx (dynamo_timed)", 20, 35), *AFTER],
        RETURNED | {"compilation": 15},
    ),
    "compiling, by the stack": (
        [stack("train.py(3): run", 0, 60), stack("triton/compiler/compiler.py(81): compile", 20, 35), *AFTER],
        RETURNED | {"compilation": 15},
    ),
    "allocating while compiling": (
        [annotation("triton_compile: fused_add", 20, 35), call("cudaMalloc", 22, 30), *AFTER],
        RETURNED | {"compilation": 7, "allocation": 8},
    ),
    "creating a context": ([call("cuDevicePrimaryCtxRetain", 20, 35), *AFTER], RETURNED | {"initialization": 15}),
    "launching something lost": (
        [call(LAUNCH, 22, 30, correlation=77), *AFTER],
        {"unattributed_host_silent": 7, "launch_overhead": 11, "launch_latency": 4},
    ),
    "launching for another device": (
        [*launched(3, (22, 30), (31, 60), device=1), *AFTER],
        {"unattributed_host_silent": 7, "launch_overhead": 11, "launch_latency": 4},
    ),
    "submitting a copy": (
        [call("cudaMemcpyAsync", 22, 30, correlation=77), *AFTER],
        RETURNED | {"unattributed_host_silent": 7, "copy_submission": 8},
    ),
    "a memset is submitted like a copy": (
        [call("cudaMemsetAsync", 22, 30, correlation=77), *AFTER],
        RETURNED | {"unattributed_host_silent": 7, "copy_submission": 8},
    ),
    "before a copy": (
        [call("cudaMemcpyAsync", 35, 38, correlation=2), copy(42, 50, 2)],
        {"unattributed_host_silent": 15, "copy_submission": 3, "launch_latency": 4},
    ),
    "a short operator that launches nothing": (
        [operator("aten::view", 22, 30), *AFTER],
        RETURNED | {"unattributed_host_silent": 7, "operator_dispatch": 8},
    ),
    "any other call": (
        [operator("aten::add", 15, 30), call("cudaFuncGetAttributes", 22, 33), *AFTER],
        RETURNED | {"operator_dispatch": 10, "unattributed_host_silent": 5},
    ),
    "a stack row, outside operators": (
        [stack("a.py(1): f", 0, 90), operator("aten::view", 22, 25), *AFTER],
        RETURNED | {"python": 12, "operator_dispatch": 3},
    ),
    "an annotation": ([annotation("## forward ##", 0, 90), *AFTER], RETURNED | {"python": 15}),
    "a step's mark": ([mark(3, 0, 25), *AFTER], RETURNED | {"python": 5, "unattributed_host_silent": 10}),
    "the profiler's own work on the thread": (
        [host(Category.OVERHEAD, "Buffer Flush", 20, 30), *AFTER],
        RETURNED | {"profiler_overhead": 10, "unattributed_host_silent": 5},
    ),
    "the profiler's own work, on a row of its own": (
        [host(Category.OVERHEAD, "Buffer Flush", 20, 30, process="-1", thread="0"), *AFTER],
        RETURNED | {"profiler_overhead": 10, "unattributed_host_silent": 5},
    ),
    "the profiler's own work in this process": (
        [host(Category.OVERHEAD, "Buffer Flush", 20, 30, thread="0"), *AFTER],
        RETURNED | {"profiler_overhead": 10, "unattributed_host_silent": 5},
    ),
    "the profiler's own work in another process": (
        [
            host(Category.OVERHEAD, "Buffer Flush", 20, 30, process="8", thread="0"),
            operator("aten::mul", 0, 9, process="8"),
            *AFTER,
        ],
        RETURNED | {"unattributed_host_silent": 15},
    ),
    "the profiler's own work on another thread": (
        [host(Category.OVERHEAD, "Buffer Flush", 20, 30, thread="2"), operator("aten::mul", 0, 9, thread="2"), *AFTER],
        RETURNED | {"unattributed_host_silent": 15},
    ),
    "what another thread does": (
        [operator("aten::add", 15, 40, thread="2"), loader(20, 35, thread="2"), *AFTER],
        RETURNED | {"unattributed_host_silent": 15},
    ),
    "before work of no recorded launch": ([kernel(25, 30, 99)], {"unattributed_no_launch": 5}),
}

WAITING: dict[str, Case] = {
    "a sync that was open when the gap began": (
        [operator("aten::add", 15, 40), call("cudaStreamSynchronize", 12, 22), *AFTER],
        RETURNED | {"synchronization": 15},
    ),
    "a sync that began just as the gap did": (
        [call("cudaDeviceSynchronize", 20, 22), *AFTER],
        RETURNED | {"synchronization": 15},
    ),
    "a sync that ended just as the gap began": (
        [call("cudaDeviceSynchronize", 12, 20), *AFTER],
        RETURNED | {"unattributed_host_silent": 15},
    ),
    "a sync inside the gap": (
        [operator("aten::add", 15, 40), call("cudaStreamSynchronize", 21, 30), *AFTER],
        RETURNED | {"operator_dispatch": 15},
    ),
    "a sync on another thread": (
        [call("cudaStreamSynchronize", 12, 22, thread="2"), *AFTER],
        RETURNED | {"unattributed_host_silent": 15},
    ),
    "a sync, then loading": (
        [call("cudaDeviceSynchronize", 12, 22), loader(23, 33), *AFTER],
        RETURNED | {"data_loading": 10, "synchronization": 5},
    ),
    "a sync, then allocating": (
        [call("cudaDeviceSynchronize", 12, 22), call("cudaMalloc", 23, 33), *AFTER],
        RETURNED | {"synchronization": 15},
    ),
    "a HIP sync": ([call("hipEventSynchronize", 12, 22), *AFTER], RETURNED | {"synchronization": 15}),
    "a sync by a name with a suffix": (
        [call("cudaStreamSynchronize_v3020", 12, 22), *AFTER],
        RETURNED | {"synchronization": 15},
    ),
    "a copy call that blocks": (
        [call("cudaMemcpy", 12, 22, correlation=9), copy(13, 15, 9, stream=8), *AFTER],
        RETURNED | {"synchronization": 15},
    ),
    "a copy to the host that was waited for": (
        [call("cudaMemcpyAsync", 12, 26, correlation=9), copy(20, 24, 9, kind="DtoH (Device -> Pageable)"), *AFTER],
        {"synchronization": 11} | RETURNED,
    ),
    "a copy to the host that was not waited for": (
        [call("cudaMemcpyAsync", 12, 23, correlation=9), copy(20, 24, 9, kind="DtoH (Device -> Pinned)"), *AFTER],
        {"unattributed_host_silent": 11} | RETURNED,
    ),
    "a copy to the device that took as long": (
        [call("cudaMemcpyAsync", 12, 26, correlation=9), copy(20, 24, 9, kind="HtoD (Pageable -> Device)"), *AFTER],
        {"copy_submission": 2, "unattributed_host_silent": 9} | RETURNED,
    ),
    "a sync around the launch itself": (
        [call("cudaDeviceSynchronize", 12, 60), *AFTER],
        RETURNED | {"synchronization": 15},
    ),
}

LONG: dict[str, Case] = {
    "a long operator that launches nothing": (
        [
            operator("aten::sort", 30, 30 + 2 * MS),
            operator("aten::view", 100, 200),
            *one(2, (3 * MS, 3 * MS + 3), (3 * MS + 10, 3 * MS + 20)),
        ],
        {
            "unattributed_host_silent": MS - 20,
            "host_compute": 2 * MS,
            "launch_overhead": 3,
            "launch_latency": 7,
        }
        | {"unattributed_host_silent": 10 + MS - 30},
    ),
    "a long operator that launches": (
        [operator("aten::sort", 20, 20 + 2 * MS), *one(2, (2 * MS, 2 * MS + 3), (2 * MS + 10, 2 * MS + 20))],
        {"operator_dispatch": 2 * MS - 20, "launch_overhead": 3, "launch_latency": 7},
    ),
    "exactly 1 ms is not long": (
        [operator("aten::sort", 20, 20 + MS), *one(2, (20 + MS, 23 + MS), (30 + MS, 40 + MS))],
        {"operator_dispatch": MS, "launch_overhead": 3, "launch_latency": 7},
    ),
    "inside a long operator that launches, a long one that does not": (
        [
            operator("aten::outer", 20, 4 * MS),
            operator("aten::sort", 100, 100 + 2 * MS),
            *one(2, (3 * MS, 3 * MS + 3), (3 * MS + 10, 3 * MS + 20)),
        ],
        {"operator_dispatch": 3 * MS - 20, "launch_overhead": 3, "launch_latency": 7},
    ),
    "a kernel's first launch": (
        [call(LAUNCH, 20, 20 + 2 * MS, correlation=2), kernel(25 + 2 * MS, 30 + 2 * MS, 2, name="new")],
        {"initialization": 2 * MS, "launch_latency": 5},
    ),
    "a later launch of it": (
        one(2, (20, 20 + 2 * MS), (25 + 2 * MS, 30 + 2 * MS)),
        {"launch_overhead": 2 * MS, "launch_latency": 5},
    ),
    "a first launch of 1 ms": (
        [call(LAUNCH, 20, 20 + MS, correlation=2), kernel(25 + MS, 30 + MS, 2, name="new")],
        {"launch_overhead": MS, "launch_latency": 5},
    ),
    "a slow copy call is no first launch": (
        [call("cudaMemcpyAsync", 20, 20 + 2 * MS, correlation=2), copy(25 + 2 * MS, 30 + 2 * MS, 2)],
        {"copy_submission": 2 * MS, "launch_latency": 5},
    ),
    "a graph with a new kernel": (
        [
            call("cudaGraphLaunch", 20, 20 + 2 * MS, correlation=2),
            kernel(25 + 2 * MS, 30 + 2 * MS, 2),
            kernel(30 + 2 * MS, 40 + 2 * MS, 2, name="new"),
        ],
        {"initialization": 2 * MS, "launch_latency": 5},
    ),
}

REQUESTS: dict[str, Case] = {
    "between two requests": (
        [annotation("perfkit.request", 0, 24), annotation("perfkit.request", 30, 60), *AFTER],
        RETURNED | {"python": 9, "no_request": 6},
    ),
    "between two requests, whatever a stack shows": (
        [
            annotation("perfkit.request", 0, 24),
            annotation("perfkit.request", 30, 60),
            stack("asyncio/base_events.py(1): run_forever", 0, 90),
            *AFTER,
        ],
        RETURNED | {"python": 9, "no_request": 6},
    ),
    "without marks of requests nothing is known of them": (AFTER, RETURNED | {"unattributed_host_silent": 15}),
    "what is recorded comes first": (
        [annotation("perfkit.request", 0, 22), operator("aten::add", 20, 26), *AFTER],
        RETURNED | {"operator_dispatch": 6, "no_request": 9},
    ),
}

SYSTEM: dict[str, Case] = {
    "waiting in the operating system": (
        [os_call("poll", 15, 30), *AFTER],
        RETURNED | {"os_wait": 10, "unattributed_host_silent": 5},
    ),
    "within a stack row and an annotation": (
        [stack("a.py(1): f", 0, 90), annotation("forward", 0, 90), os_call("read", 22, 30), *AFTER],
        RETURNED | {"os_wait": 8, "python": 7},
    ),
    "within the loader": ([loader(20, 35), os_call("read", 22, 30), *AFTER], RETURNED | {"data_loading": 15}),
    "within an open synchronization": (
        [call("cudaStreamSynchronize", 12, 22), os_call("poll", 13, 21), os_call("ioctl", 24, 30), *AFTER],
        RETURNED | {"synchronization": 15},
    ),
    "within an operator that launches": (
        [operator("aten::add", 20, 40), os_call("futex", 22, 30), *AFTER],
        RETURNED | {"operator_dispatch": 15},
    ),
    "within an allocation": (
        [call("cudaMalloc", 20, 32), os_call("ioctl", 21, 31), *AFTER],
        RETURNED | {"allocation": 12, "unattributed_host_silent": 3},
    ),
    "within the launch": (
        [os_call("ioctl", 34, 37), *AFTER],
        RETURNED | {"unattributed_host_silent": 14, "os_wait": 1},
    ),
    "within a long operator that launches nothing": (
        [
            operator("aten::sort", 20, 20 + 2 * MS),
            os_call("sched_yield", 30, MS),
            *one(2, (2 * MS + 20, 2 * MS + 23), (2 * MS + 30, 2 * MS + 40)),
        ],
        {"host_compute": 2 * MS, "launch_overhead": 3, "launch_latency": 7},
    ),
    "on another thread": ([os_call("poll", 20, 35, thread="2"), *AFTER], RETURNED | {"unattributed_host_silent": 15}),
    "between two requests": (
        [
            annotation("perfkit.request", 0, 24),
            annotation("perfkit.request", 30, 60),
            os_call("epoll_wait", 22, 33),
            *AFTER,
        ],
        RETURNED | {"os_wait": 5, "no_request": 6, "python": 4},
    ),
    "code that was only sampled": (
        [sample("memmove", 18, 26), sample("qsort", 26, 30), *AFTER],
        RETURNED | {"host_code": 10, "unattributed_host_silent": 5},
    ),
    "samples within all else": (
        [
            *[sample("work", n, n + 5) for n in range(0, 60, 5)],
            annotation("range", 0, 23),
            os_call("write", 24, 27),
            host(Category.OVERHEAD, "Buffer Flush", 26, 30),
            operator("aten::add", 30, 40),
            *AFTER,
        ],
        RETURNED | {"python": 3, "host_code": 1, "os_wait": 3, "profiler_overhead": 3, "operator_dispatch": 5},
    ),
    "a record of a synchronization beside its call": (
        [call("cudaStreamSynchronize", 12, 22), host(Category.SYNC_RECORD, "Stream Sync", 13, 21), *AFTER],
        RETURNED | {"synchronization": 15},
    ),
    "a record of a synchronization that no call waited for": (
        [host(Category.SYNC_RECORD, "Context Sync", 12, 35, process="0", thread="-1"), *AFTER],
        RETURNED | {"unattributed_host_silent": 15},
    ),
}

CASES = QUEUED | LATE | WAITING | LONG | REQUESTS | SYSTEM


@pytest.mark.parametrize("case", CASES)
def test_idle(case: str) -> None:
    rows, idle = CASES[case]
    timeline = attribute(trace(BEFORE + rows), window="device-span").timelines[0]
    assert dict(timeline.idle) == idle
    assert timeline.busy_ns + timeline.idle_ns == timeline.window_ns


@pytest.mark.parametrize("case", CASES)
def test_the_order_of_rows_does_not_matter(case: str) -> None:
    rows, idle = CASES[case]
    timelines = attribute(trace((BEFORE + rows)[::-1]), window="device-span").timelines
    assert dict(next(line for line in timelines if line.device == 0).idle) == idle


@pytest.mark.parametrize("case", CASES)
def test_long_after_the_epoch(case: str) -> None:
    """Cause by cause the same, 30 years later or before."""
    rows, idle = CASES[case]
    for shift in (30 * 365 * 86_400 * 10**9, -30 * 365 * 86_400 * 10**9):
        shifted = [
            Row(row.category, row.name, row.start + shift, row.end + shift, row.process, row.thread, row.fields)
            for row in BEFORE + rows
        ]
        assert dict(attribute(trace(shifted), window="device-span").timelines[0].idle) == idle


def test_gaps_are_explained_alike_in_blocks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [operator("aten::add", 0, 60), loader(200, 280), call("cudaMalloc", 320, 350), stack("a.py(1): f", 0, 450)]
    rows += [row for n in range(9) for row in launched(n, (50 * n, 50 * n + 8), (50 * n + 10, 50 * n + 15))]
    whole = attribute(trace(rows), window="device-span")
    assert len(whole.timelines[0].idle) == 6
    for size in (1, 2, 3):
        monkeypatch.setattr("perfkit.attribute.idle.BLOCK", size)
        assert attribute(trace(rows), window="device-span") == whole


def test_a_first_launch_is_told_for_each_process() -> None:
    rows = [
        *launched(1, (0, 1), (2, 3), process="100"),
        *launched(2, (3, 3 + 2 * MS), (10 + 2 * MS, 11 + 2 * MS), process="100"),
        *launched(3, (0, 1), (2, 3), process="200", device=1, name="other"),
        *launched(4, (3, 3 + 2 * MS), (10 + 2 * MS, 11 + 2 * MS), process="200", device=1),
    ]
    one, other = attribute(trace(rows), window="device-span").timelines
    assert dict(one.idle) == {"launch_overhead": 2 * MS, "launch_latency": 7}
    assert dict(other.idle) == {"initialization": 2 * MS, "launch_latency": 7}


def test_two_threads_launch_in_turn() -> None:
    rows = [
        *launched(1, (0, 5), (10, 20)),
        operator("aten::forward", 18, 40),
        *launched(2, (30, 33), (35, 45)),
        stack("backward.py(1): run", 40, 70, thread="2"),
        *launched(3, (55, 58), (60, 65), thread="2"),
    ]
    (timeline,) = attribute(trace(rows), window="device-span").timelines
    assert dict(timeline.idle) == {"operator_dispatch": 10, "python": 10, "launch_overhead": 6, "launch_latency": 4}
