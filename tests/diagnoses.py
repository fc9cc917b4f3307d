"""Hand-made attributions and diagnoses, so that advice and reports can be tested without a trace."""

from __future__ import annotations

from typing import Any

from perfkit.advise import advise
from perfkit.model.attribution import (
    Attribution,
    Blame,
    Blocked,
    Collective,
    Copy,
    Kernel,
    LaunchDelay,
    Operator,
    Step,
    Timeline,
    Window,
)
from perfkit.model.diagnosis import Diagnosis, TraceSummary
from perfkit.model.signs import NO_SIGNS
from perfkit.model.table import Table
from perfkit.model.trace import Defect, Device

MS = 1_000_000

HOSTILE = (
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07\x9b2J",
    "line\nbreak\r\ttab\0nul",
    "<script>alert(1)</script><!-- <img src=x onerror=y> -->",
    "a|b `code` **bold** [link](javascript:x) ~~no~~ _u_ | --- |",
    "``` fence",
    "[bold red]markup[/] {braces} %s %(x)s",
    "@everyone #1 https://example.com",
    "\u202egnirts\u202c zero\u200bwidth \u2028 separator",
    "漢字カナ한글 wide",
    "e\u0301 combining",
    "\\",
    "`",
    "",
    "x" * 300,
)
"""Names that mean something to a terminal, to Markdown or to HTML."""


def timeline(
    busy: dict[str, int] | None = None, idle: dict[str, int] | None = None, *, steps: int = 0, **changes: Any
) -> Timeline:
    """Make a device's timeline from its times, in ns; with steps, each of them has an equal part (they must divide)."""
    busy = {"compute": 0, "exposed_communication": 0, "exposed_copy": 0} | (busy or {})
    idle = idle or {}
    window_ns = sum(busy.values()) + sum(idle.values())
    length = window_ns // steps if steps else 0
    parts = Table(
        Step(
            f"ProfilerStep#{2 + number}",
            number * length,
            (number + 1) * length,
            {name: ns // steps for name, ns in busy.items()},
            {name: ns // steps for name, ns in idle.items()},
        )
        for number in range(steps)
    )
    plain = Timeline(
        id="71/0",
        kind="device",
        window_kind="steps" if steps else "device-span",
        process="71",
        device=0,
        device_name="NVIDIA A100-SXM4-80GB",
        uuid="",
        start_ns=0,
        end_ns=window_ns,
        busy=busy,
        kernel_union_ns=busy["compute"],
        kernel_sum_ns=busy["compute"],
        communication_ns=busy["exposed_communication"],
        copy_ns=busy["exposed_copy"],
        idle=idle,
        activities=1000,
        unlinked_activities=0,
        lead_in_ns=0,
        lead_out_ns=0,
        confidence="high",
        confidence_reason="",
        steps=parts,
    )
    return plain._replace(**changes)


def attribution(*timelines: Timeline, **tables: Any) -> Attribution:
    """Make an Attribution of timelines; tables that are not given are empty."""
    steps = bool(timelines and timelines[0].steps)
    window = Window("steps" if steps else "device-span", "ProfilerStep#" if steps else "none", ())
    names = ("blame", "blocked", "operators", "kernels", "copies", "collectives", "launches")
    filled: dict[str, Any] = {name: Table(tables.pop(name, ())) for name in names}
    return Attribution(
        window=tables.pop("window", window),
        timelines=Table(timelines),
        defects=tables.pop("defects", ()),
        signs=tables.pop("signs", NO_SIGNS),
        **filled,
        **tables,
    )


def diagnosis(of: Attribution, **changes: Any) -> Diagnosis:
    """Make a Diagnosis of an Attribution, with the advice that follows from it."""
    trace = TraceSummary(
        path="traces/job.pt.trace.json.gz",
        format="torch-profiler",
        epoch_ns=1_700_000_000_123_456_789,
        clock="unix",
        hardware=(Device(0, "NVIDIA A100-SXM4-80GB", "GPU-1", {"numSms": 108, "totalGlobalMem": 85_899_345_920}),),
        rank=0,
        world_size=8,
        events=57_234,
        defects=(),
    )
    return Diagnosis(trace=trace._replace(**changes), attribution=of, advice=advise(of))


def loader_bound() -> Diagnosis:
    """A training job whose GPU waits for data, launches and copies, with something in every table."""
    device = timeline(
        {"compute": 500 * MS, "exposed_communication": 20 * MS, "exposed_copy": 30 * MS},
        {
            "data_loading": 300 * MS,
            "operator_dispatch": 80 * MS,
            "launch_overhead": 30 * MS,
            "synchronization": 20 * MS,
            "python": 15 * MS,
            "unattributed_host_silent": 5 * MS,
        },
        steps=5,
        communication_ns=60 * MS,
        lead_in_ns=12 * MS,
        unlinked_activities=3,
    )
    thread = "4711 thread 4711 (python)"
    loader = "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"
    kernel = "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>>(int)"
    copy = "Memcpy HtoD (Pageable -> Device)"
    return diagnosis(
        attribution(
            device,
            window=Window("steps", "ProfilerStep#", ("ProfilerStep#1",)),
            blame=(
                Blame(device.id, "data_loading", loader, thread, "train.py(41): <module>", 300 * MS, 5),
                Blame(device.id, "operator_dispatch", "aten::conv2d", thread, "net.py(12): forward", 50 * MS, 412),
                Blame(device.id, "launch_overhead", "cudaLaunchKernel", thread, "net.py(12): forward", 30 * MS, 1_802),
                Blame(device.id, "synchronization", "cudaStreamSynchronize", thread, "train.py(47): log", 20 * MS, 5),
                Blame(device.id, "python", "ProfilerStep#2", thread, "", 15 * MS, 20),
            ),
            blocked=(
                Blocked(thread, "data_loading", 310 * MS, 5, 1000 * MS),
                Blocked(thread, "synchronization", 296 * MS, 134, 1000 * MS),
            ),
            operators=(
                Operator(
                    "aten::cudnn_convolution", "nn.Module: Conv2d", "net.py(12): forward", 265, 119 * MS, 9 * MS, 530
                ),
                Operator("aten::add_", "", "net.py(20): forward", 80, 13 * MS, MS, 80),
            ),
            kernels=(
                Kernel(kernel, "compute", 2_575, 33 * MS, 12_815, 90_000, 0, ""),
                Kernel("ncclDevKernel_AllReduce_Sum_f32_RING_LL", "communication", 5, 60 * MS, 12 * MS, 13 * MS, 0, ""),
            ),
            copies=(Copy(copy, 10, 30 * MS, 192_675_840, 6.42e9),),
            collectives=(Collective("allreduce", 5, 60 * MS, 102_228_128),),
            launches=(LaunchDelay(device.id, 5_000, 2, 5_200, 40_000, 1_000_000),),
            defects=(
                Defect("activities_without_launch", 3, -1, "3 of 1,000 activities have no launch in the recording"),
            ),
        ),
        defects=(Defect("bad_escape", 12, 4_096, "escapes that JSON does not have: kept as they are"),),
    )


def two_devices() -> Diagnosis:
    """One process that feeds two GPUs, the second of which communicates with nothing to hide it."""
    return diagnosis(
        attribution(
            timeline({"compute": 95 * MS}, {"python": 5 * MS}),
            timeline({"compute": 60 * MS, "exposed_communication": 38 * MS}, {"python": 2 * MS}, id="71/1", device=1),
        )
    )


def host_only() -> Diagnosis:
    """A program on a CPU that is busy enough."""
    thread = timeline(
        {"compute": 97 * MS},
        {"python": 3 * MS},
        id="71/thread 71",
        kind="host_thread",
        window_kind="host-span",
        device=-1,
        device_name="",
        activities=0,
        confidence="medium",
        confidence_reason="no device activity was recorded, so this is the busiest host thread",
    )
    return diagnosis(attribution(thread), hardware=(), rank=None, world_size=None)


def empty() -> Diagnosis:
    """A trace without events."""
    return diagnosis(attribution(), events=0, hardware=(), rank=None, world_size=None)


def hostile() -> Diagnosis:
    """A trace whose every name is one of HOSTILE, in turn."""
    device = timeline(
        {"compute": 400 * MS, "exposed_copy": 100 * MS, "exposed_communication": 100 * MS},
        {"data_loading": 100 * MS, "operator_dispatch": 100 * MS, "synchronization": 100 * MS, HOSTILE[0]: 100 * MS},
        device_name=HOSTILE[1],
        confidence="low",
        confidence_reason=HOSTILE[4],
        process=HOSTILE[0],
    )
    every = list(enumerate(HOSTILE, 1))
    return diagnosis(
        attribution(
            device,
            timeline({"compute": 1}, {}, id=HOSTILE[0], process=HOSTILE[3], device_name=HOSTILE[3]),
            window=Window("device-span", HOSTILE[3], HOSTILE),
            blame=[Blame(device.id, "operator_dispatch", name, name, name, n * MS, n) for n, name in every]
            + [Blame(device.id, "synchronization", name, name, name, n * MS, n) for n, name in every],
            blocked=[Blocked(name, "synchronization", n * MS, n, 900 * MS) for n, name in every],
            operators=[Operator(name, name, name, n, n * MS, n * MS, n) for n, name in every],
            kernels=[Kernel(name, "compute", n, n * MS, MS, MS, 0, name) for n, name in every],
            copies=[Copy(name, n, n * MS, n, 1.0) for n, name in every],
            collectives=[Collective(name, n, n * MS, n) for n, name in every],
            defects=[Defect("x", n, n, name) for n, name in every],
        ),
        path="dir/\x1b[2J\udce9`evil|<b>.json",
        format=HOSTILE[2],
        notes=HOSTILE,
        hardware=(Device(0, HOSTILE[0], HOSTILE[3], {HOSTILE[0]: float("nan"), "list": [float("inf"), HOSTILE[5]]}),),
    )
