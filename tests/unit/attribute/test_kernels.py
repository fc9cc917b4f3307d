"""What ran on the devices by name, and how long it waited to run."""

from __future__ import annotations

from perfkit.attribute import attribute
from perfkit.model.attribution import Collective, Copy, Kernel, LaunchDelay
from tests.unit.attribute.hand_made import LAUNCH, call, copy, kernel, launched, mark, memset, trace


def test_kernels_by_name_largest_first() -> None:
    rows = [
        kernel(0, 10, name="gemm", bytes=100),
        kernel(10, 13, name="gemm"),
        kernel(13, 40, name="triton_poi_fused_add_0"),
        kernel(40, 45, name="ncclDevKernel_AllReduce"),
        kernel(45, 45, name="empty"),
        memset(50, 52),
        copy(60, 90),
    ]
    assert attribute(trace(rows)).kernels == (
        Kernel("triton_poi_fused_add_0", "compute", 1, 27, 27, 27, 0, "triton"),
        Kernel("gemm", "compute", 2, 13, 6, 10, 100, ""),
        Kernel("ncclDevKernel_AllReduce", "communication", 1, 5, 5, 5, 0, ""),
        Kernel("Memset (Device)", "memset", 1, 2, 2, 2, 0, ""),
        Kernel("empty", "compute", 1, 0, 0, 0, 0, ""),
    )


def test_copies_by_kind_with_their_rate() -> None:
    rows = [
        copy(0, 10, kind="HtoD (Pageable -> Device)", bytes=1_000),
        copy(10, 40, kind="HtoD (Pageable -> Device)", bytes=3_000),
        copy(50, 50, kind="DtoH (Device -> Pinned)", bytes=8),
        copy(60, 65, kind="DtoD (Device -> Device)"),
    ]
    assert attribute(trace(rows)).copies == (
        Copy("Memcpy HtoD (Pageable -> Device)", 2, 40, 4_000, 100e9),
        Copy("Memcpy DtoD (Device -> Device)", 1, 5, 0, 0.0),
        Copy("Memcpy DtoH (Device -> Pinned)", 1, 0, 8, 0.0),
    )


def test_collectives_by_the_name_that_the_trace_gives_them() -> None:
    rows = [
        kernel(0, 10, name="ncclDevKernel_1", collective="allreduce", bytes=64),
        kernel(10, 15, name="ncclDevKernel_2", collective="allreduce", bytes=32),
        kernel(20, 50, name="two_shot_all_reduce"),
        kernel(60, 99, name="gemm"),
    ]
    assert attribute(trace(rows)).collectives == (
        Collective("two_shot_all_reduce", 1, 30, 0),
        Collective("allreduce", 2, 15, 96),
    )


def test_only_what_starts_in_the_window_counts() -> None:
    rows = [
        mark(1, 0, 20),
        *launched(1, (1, 2), (5, 9), name="warm-up"),
        mark(2, 20, 40),
        *launched(2, (21, 22), (25, 30)),
        *launched(3, (50, 51), (55, 60), name="after"),
    ]
    assert [row.name for row in attribute(trace(rows)).kernels] == ["gemm"]
    names = [row.name for row in attribute(trace(rows), window="device-span").kernels]
    assert names == ["gemm", "after", "warm-up"]


def test_the_delay_between_launch_and_start() -> None:
    starts = (3, 10, 20, 30, 100)
    rows = [
        *[row for n, start in enumerate(starts) for row in launched(n, (n, n + 1), (start, start + 1))],
        call(LAUNCH, 40, 41, correlation=90),
        call("cudaMemsetAsync", 42, 43, correlation=91),
        call("cudaFuncGetAttributes", 44, 45, correlation=92),
        call(LAUNCH, 200, 201, correlation=93),
    ]
    delays = sorted(start - n - 1 for n, start in enumerate(starts))
    assert delays == [2, 8, 17, 26, 95]
    assert attribute(trace(rows)).launches == (LaunchDelay("9/gpu0", 5, 2, 17, 26, 95),)


def test_a_graph_is_one_launch_and_an_early_start_no_delay() -> None:
    rows = [
        call("cudaGraphLaunch", 0, 5, correlation=1),
        kernel(10, 20, 1),
        kernel(20, 30, 1),
        *launched(2, (40, 48), (45, 50)),
    ]
    (delay,) = attribute(trace(rows)).launches
    assert (delay.launches, delay.without_activity, delay.median_ns, delay.max_ns) == (2, 0, 5, 15)


def test_without_linked_work_nothing_is_said_of_launches() -> None:
    assert attribute(trace([kernel(0, 10, 5), call(LAUNCH, 0, 1, correlation=6)])).launches == ()
