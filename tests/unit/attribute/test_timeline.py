"""The timeline of a device: what it did, over which window, and how far that can be believed."""

from __future__ import annotations

import pytest

from perfkit.attribute import attribute
from perfkit.model.trace import Category, Device
from tests.unit.attribute.hand_made import (
    LAUNCH,
    MS,
    Row,
    call,
    copy,
    kernel,
    launched,
    mark,
    memset,
    operator,
    os_call,
    sample,
    trace,
    work,
)


def nccl(start: int, end: int, **fields: int | str) -> Row:
    return work(Category.KERNEL, "ncclDevKernel_AllReduce", start, end, stream=20, device=0, **fields)


BUSY = {
    "computation alone": ([kernel(0, 10)], (10, 0, 0)),
    "a memset is computation": ([memset(0, 10)], (10, 0, 0)),
    "two at once count once": ([kernel(0, 10), kernel(5, 15, stream=8)], (15, 0, 0)),
    "communication alone": ([nccl(0, 10)], (0, 10, 0)),
    "communication behind computation": ([kernel(0, 10), nccl(2, 14)], (10, 4, 0)),
    "a copy alone": ([copy(0, 10)], (0, 0, 10)),
    "a copy behind computation": ([kernel(0, 10), copy(5, 14, stream=8)], (10, 0, 4)),
    "a copy behind communication": ([nccl(0, 10), copy(5, 14)], (0, 10, 4)),
    "all three": ([kernel(0, 10), nccl(5, 20), copy(15, 30)], (10, 10, 10)),
    "a copy around all": ([copy(0, 40, stream=8), kernel(5, 10), nccl(20, 30)], (5, 10, 25)),
    "a copy between devices is communication": ([copy(0, 10, kind="PtoP (Device -> Device)")], (0, 10, 0)),
    "a collective by its arguments": ([kernel(0, 10, name="mine", collective="allreduce")], (0, 10, 0)),
    "touching": ([kernel(0, 10), nccl(10, 20), copy(20, 30)], (10, 10, 10)),
    "of no length": ([kernel(5, 5), copy(5, 5)], (0, 0, 0)),
}


@pytest.mark.parametrize("case", BUSY)
def test_busy_classes_in_their_precedence(case: str) -> None:
    rows, (compute, communication, copies) = BUSY[case]
    (timeline,) = attribute(trace(rows), window="device-span").timelines
    assert dict(timeline.busy) == {
        "compute": compute,
        "exposed_communication": communication,
        "exposed_copy": copies,
    }
    assert timeline.busy_ns + timeline.idle_ns == timeline.window_ns


def test_sums_and_unions() -> None:
    rows = [kernel(0, 10), kernel(5, 20, stream=8), nccl(15, 30), copy(25, 40), copy(30, 35, stream=9), memset(40, 42)]
    (timeline,) = attribute(trace(rows), window="device-span").timelines
    assert (timeline.kernel_sum_ns, timeline.kernel_union_ns) == (40, 30)
    assert (timeline.communication_ns, timeline.copy_ns) == (15, 15)
    assert timeline.activities == 6


def test_an_activity_across_the_edge_of_the_window_is_cut() -> None:
    rows = [
        mark(1, 0, 10),
        *launched(1, (1, 2), (5, 20)),
        mark(2, 10, 20),
        *launched(2, (11, 12), (15, 40), stream=8),
        mark(3, 20, 30),
        *launched(3, (21, 22), (25, 35), stream=9),
    ]
    (timeline,) = attribute(trace(rows)).timelines
    assert (timeline.start_ns, timeline.end_ns) == (20, 40)
    assert dict(timeline.busy) == {"compute": 20, "exposed_communication": 0, "exposed_copy": 0}
    assert (timeline.kernel_sum_ns, timeline.kernel_union_ns, timeline.activities) == (30, 20, 1)


def test_the_last_activity_counts_even_without_length() -> None:
    (timeline,) = attribute(trace([kernel(0, 10), kernel(30, 30)]), window="device-span").timelines
    assert (timeline.window_ns, timeline.activities) == (30, 2)


def test_each_device_of_each_process_is_a_timeline() -> None:
    rows = [
        *launched(1, (0, 1), (5, 9), process="100"),
        *launched(2, (10, 11), (15, 19), process="100", device=1),
        *launched(3, (20, 21), (25, 29), process="200", device=2),
        kernel(35, 39, 77, device=3),
    ]
    timelines = attribute(trace(rows)).timelines
    assert {(line.process, line.device) for line in timelines if line.device < 3} == {
        ("100", 0),
        ("100", 1),
        ("200", 2),
    }
    assert len(timelines) == 4
    assert len({line.id for line in timelines}) == 4
    assert [line.unlinked_activities for line in timelines if line.device == 3] == [1]


def test_several_devices_of_one_process_and_several_processes_on_one_device() -> None:
    """With a named process for each stream, each (process, device) has the steps and the gaps that are its own."""
    rows = []
    for process, device, shift in (("100", 0, 0), ("100", 1, 2), ("200", 0, 4)):
        for n in range(4):
            call_ns, kernel_ns = (20 * n + shift, 20 * n + shift + 1), (20 * n + shift + 3, 20 * n + 19)
            number = n + 10 * device
            rows += launched(number, call_ns, kernel_ns, process=process, device=device, owner=process)
        rows += [mark(n, 20 * n, 20 * n + 20, process=process) for n in range(4)] if device == 0 else []
    lines = attribute(trace(rows)).timelines
    assert [(line.process, line.device, line.kernel_sum_ns) for line in lines] == [
        ("100", 0, 48),
        ("100", 1, 42),
        ("200", 0, 36),
    ]
    for line in lines:
        assert [step.name for step in line.steps] == ["ProfilerStep#1", "ProfilerStep#2", "ProfilerStep#3"]
        assert (line.start_ns, line.end_ns, line.unlinked_activities) == (19, 79, 0)
        assert line.idle["launch_latency"] == 6


def test_waits_of_the_profilers_own_threads_are_no_lead_in() -> None:
    rows = [os_call("poll", -500, 900, thread="2"), sample("main", -20, -10), *launched(1, (0, 1), (5, 9))]
    (timeline,) = attribute(trace(rows)).timelines
    assert (timeline.lead_in_ns, timeline.lead_out_ns) == (25, 0)


def test_the_header_names_the_device() -> None:
    devices = [Device(0, "NVIDIA H100", "GPU-12"), Device(1, "NVIDIA A100", "GPU-34")]
    one, other = attribute(trace([kernel(0, 1, device=1), kernel(0, 1, device=2)], devices=devices)).timelines
    assert (one.device_name, one.uuid) == ("NVIDIA A100", "GPU-34")
    assert (other.device_name, other.uuid) == ("", "")


def test_a_device_that_nothing_names() -> None:
    """Neither the arguments nor the process key say which device: it is a device all the same."""
    (timeline,) = attribute(trace([Row(Category.KERNEL, "gemm", 0, 10, "GPU", "7")])).timelines
    assert (timeline.id, timeline.device, timeline.window_ns) == ("?/gpu?", -1, 10)


def steps_of(rows: list[Row]) -> list[Row]:
    return [mark(1, 0, 30), mark(2, 30, 60), mark(3, 60, 90), *rows]


def dense(first: int, count: int) -> list[Row]:
    """Kernels back to back in the queue, one launched every ns."""
    return [row for n in range(first, first + count) for row in launched(n, (n, n + 1), (100 + 10 * n, 110 + 10 * n))]


CONFIDENCE = {
    "steps, all explained": (steps_of(dense(1, 85)), "high", ""),
    "no steps": (dense(1, 85), "medium", "no steps were found"),
    "one step": ([mark(1, 0, 90), *dense(1, 85)], "low", "only one step"),
    "many orphans": (
        steps_of([*dense(1, 85), *[kernel(960 + n, 961 + n) for n in range(20)]]),
        "low",
        "have no recorded launch",
    ),
    "some kernels hidden in graphs": (
        steps_of([*dense(1, 85), kernel(960, 970, 84, name="CUDA graph 3")]),
        "medium",
        "--cuda-graph-trace=node",
    ),
    "most kernels hidden in graphs": (
        [*dense(1, 20), kernel(960, 1970, 19, name="CUDA graph 3")],
        "low",
        "--cuda-graph-trace=node",
    ),
    "a kernel of such a name is none": (
        steps_of([*dense(1, 85), kernel(960, 970, 84, name="my CUDA graph 3")]),
        "high",
        "",
    ),
    "two programs in one process": (
        [*dense(1, 40), *[call(LAUNCH, n, n + 1, correlation=n, thread="2") for n in range(1, 41)]],
        "low",
        "share one process id",
    ),
    "much of it unattributed": (
        steps_of([*dense(1, 80), *launched(85, (85, 3000), (3001, 3002))[1:], *launched(86, (86, 4000), (4001, 4002))]),
        "medium",
        "is unattributed",
    ),
}


@pytest.mark.parametrize("case", CONFIDENCE)
def test_confidence(case: str) -> None:
    rows, confidence, reason = CONFIDENCE[case]
    (timeline,) = attribute(trace(rows)).timelines
    assert timeline.confidence == confidence
    assert reason in timeline.confidence_reason


def test_a_duration_that_no_synchronization_saw() -> None:
    """The kernel cannot have run for 10 ms: a wait for the whole device ended 1 ms after its launch."""
    rows = [
        *launched(1, (0, 5), (10, 10 * MS)),
        call("cudaDeviceSynchronize", 6, MS),
        *launched(2, (MS + 5, MS + 6), (MS + 10, MS + 20), stream=8),
    ]
    attribution = attribute(trace(rows), window="device-span")
    (timeline,) = attribution.timelines
    assert (timeline.start_ns, timeline.end_ns, timeline.busy["compute"]) == (10, MS + 20, 10)
    assert [(defect.kind, defect.count) for defect in attribution.defects if "impossible" in defect.kind] == [
        ("impossible_duration", 1)
    ]


def test_a_device_whose_clock_is_late_is_not_impossible() -> None:
    """The kernel seems to end 3 ms after the wait for it; it ran no longer than that wait took, so clocks differ."""
    rows = [
        *launched(1, (0, 5), (3 * MS + 10, 4 * MS)),
        call("cudaDeviceSynchronize", 6, MS),
        *launched(2, (MS + 5, MS + 6), (4 * MS + 10, 4 * MS + 20)),
    ]
    attribution = attribute(trace(rows), window="device-span")
    assert attribution.timelines[0].busy["compute"] == MS
    assert not [defect for defect in attribution.defects if "impossible" in defect.kind]


def test_clocks_that_differ_a_little_are_not_impossible() -> None:
    rows = [*launched(1, (0, 5), (10, MS + 100)), call("cudaDeviceSynchronize", 6, MS)]
    attribution = attribute(trace(rows), window="device-span")
    assert attribution.timelines[0].busy["compute"] == MS + 90
    assert not [defect for defect in attribution.defects if "impossible" in defect.kind]


def test_nothing_at_all() -> None:
    for rows in (
        [],
        [Row(Category.SPAN, "PyTorch Profiler", 0, 9)],
        [Row(Category.DEVICE_ANNOTATION, "x", 0, 9, "0", "7")],
    ):
        for window in ("steps", "device-span"):
            attribution = attribute(trace(rows), window=window)
            assert attribution.timelines == ()
            assert (attribution.blame, attribution.blocked, attribution.operators, attribution.kernels) == (
                (),
                (),
                (),
                (),
            )
            assert (attribution.copies, attribution.collectives, attribution.launches) == ((), (), ())
            assert attribution.defects == ()


def test_columns_beyond_those_of_every_event_are_optional() -> None:
    columns = ("device", "stream", "correlation")
    rows = [
        operator("aten::add", 0, 4),
        call(LAUNCH, 1, 2, correlation=1),
        kernel(5, 9, 1),
        *launched(2, (7, 8), (12, 15)),
    ]
    attribution = attribute(trace(rows, columns=columns))
    assert attribution.timelines[0].busy["compute"] == 7
    assert [row.name for row in attribution.operators] == ["aten::add", "(outside operators)"]
