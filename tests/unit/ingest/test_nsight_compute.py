"""What ``ncu --csv`` prints, and kernels matched by name."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

import perfkit
from perfkit.attribute.kernel_limits import judge, match
from perfkit.ingest import load_kernels
from perfkit.model.attribution import Kernel
from perfkit.model.kernel_profile import KernelProfile

if TYPE_CHECKING:
    from pathlib import Path

HEAD = '"ID","Process ID","Kernel Name","Block Size","Grid Size","Device","CC"'
DETAILS = f'{HEAD},"Section Name","Metric Name","Metric Unit","Metric Value","Rule Name","Rule Type","Rule Description"'
CELLS = '"{id}","71","{name}","(128, 1, 1)","(64, 2, 1)","0","9.0"'


def kernels(text: str) -> list[KernelProfile]:
    return list(load_kernels(io.BytesIO(text.encode())).kernels)


def row(section: str, label: str, unit: str, value: str, number: int = 0, name: str = "f(int)") -> str:
    return f'{CELLS.format(id=number, name=name)},"{section}","{label}","{unit}","{value}"'


def test_a_page_of_details_among_other_output() -> None:
    rule = f'{CELLS.format(id=0, name="f(int)")},"SpeedOfLight","","","","SOL","OPT","Look at @section:X:the memory@."'
    text = "\n".join(
        [
            "epoch 1, loss 0.5",
            "==PROF== Connected to process 71",
            DETAILS,
            row("Speed", "Duration", "msecond", "1.50"),
            row("Speed", "Memory [%]", "%", "81.5"),
            row("Speed", "Compute (SM) Throughput", "%", "20"),
            row("Memory", "Memory Throughput", "Gbyte/second", "1,200.5"),
            rule,
            row("Speed", "Duration", "us", "2", number=1, name="g"),
            "==PROF== Disconnected",
        ]
    )
    first, second = kernels(text)
    assert (first.duration_ns, first.memory_pct, first.compute_pct) == (1_500_000, 81.5, 20.0)
    assert (first.dram_bytes_per_s, first.dram_bytes) == (1_200.5e9, 1_800_750_000)
    assert (first.grid, first.block, first.device) == ((64, 2, 1), (128, 1, 1), 0)
    assert first.rules[0].text == "Look at the memory."
    assert (second.id, second.duration_ns, second.memory_pct, second.limiter) == (1, 2_000, None, "")


def test_a_raw_page() -> None:
    names = '"gpu__time_duration.sum","dram__bytes_read.sum","dram__bytes_write.sum","launch__occupancy_limit_warps"'
    units = '"","","","","","","","us","Mbyte","Kbyte","block"'
    values = f'{CELLS.format(id=3, name="f")},"1,000.5","2","500","4"'
    (kernel,) = kernels("\n".join([f"{HEAD},{names}", units, values]))
    assert (kernel.id, kernel.duration_ns, kernel.dram_bytes, kernel.limiter) == (3, 1_000_500, 2_500_000, "warps")


@pytest.mark.parametrize("text", [DETAILS, f"{DETAILS}\n", f"{DETAILS}\nno row of it"])
def test_a_head_without_kernels(text: str) -> None:
    with pytest.raises(perfkit.UnreadableTraceError, match="no kernel below it"):
        kernels(text)


def test_a_report_of_kernels_is_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "k.csv"
    path.write_text(f"{DETAILS}\n{row('Speed', 'Duration', 'us', '2')}")
    with pytest.raises(perfkit.UsageError, match="holds measured kernels and no timeline"):
        perfkit.load(path)
    diagnosis = perfkit.diagnose(path)
    assert [kernel.duration_ns for kernel in diagnosis.profiles] == [2_000]
    assert diagnosis.advice.verdict.startswith("What holds up `f(int)` cannot be told")


@pytest.mark.parametrize(
    ("memory", "compute", "limit", "used"),
    [
        (90.0, 30.0, "memory", 90.0),
        (61.0, 85.0, "compute", 85.0),
        (59.9, 20.0, "latency", 59.9),
        (None, 85.0, "compute", 85.0),
        (95.0, None, "memory", 95.0),
        (None, 70.0, "unknown", None),
        (None, None, "unknown", None),
    ],
)
def test_the_limit(memory: float | None, compute: float | None, limit: str, used: float | None) -> None:
    found = judge(KernelProfile("r", 0, "f", duration_ns=1000, memory_pct=memory, compute_pct=compute))
    assert (found.limit, found.limit_pct) == (limit, used)
    assert found.roof_ns == (None if used is None else round(10 * used))


@pytest.mark.parametrize(
    ("in_trace", "in_report", "same"),
    [
        ("void f<int, 4>(int*, float)", "f<int, (int)4>(int *, float)", True),
        ("void f<4u>(int)", "void f<4>(int)", True),
        ("ns::f<int>(int)", "f", True),
        ("triton_poi_fused_0", "triton_poi_fused_0", True),
        ("void f<int>(int)", "void f<float>(int)", False),
        ("void a::f<int>(int)", "void g<int>(int)", False),
    ],
)
def test_names_as_two_profilers_write_them(in_trace: str, in_report: str, same: bool) -> None:
    row = Kernel(in_trace, "compute", 1, 100, 100, 100, 0, "")
    profile = KernelProfile("r", 0, in_report, duration_ns=10, memory_pct=50.0, limiter="warps", limit="latency")
    found = match([row], [profile])
    assert (0 in found) is same
    if same:
        assert (found[0].covered_ns, found[0].memory_pct, found[0].limiter) == (100, 50.0, "warps")


def test_several_launches_are_a_mean_by_time() -> None:
    row = Kernel("f", "compute", 2, 100, 50, 50, 0, "")
    profiles = [
        KernelProfile("r", 0, "f", duration_ns=30, memory_pct=90.0, limit="memory"),
        KernelProfile("r", 1, "f", duration_ns=10, memory_pct=10.0, limit="latency"),
        KernelProfile("r", 2, "f", duration_ns=10, limit="unknown"),
    ]
    found = match([row], profiles)[0]
    assert (found.memory_pct, found.compute_pct, found.limit) == (70.0, None, "memory")


def test_beside_a_trace(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = [
        {
            "ph": "X",
            "cat": "kernel",
            "name": "void f<int>(int)",
            "pid": 0,
            "tid": 7,
            "ts": 10 * at,
            "dur": 5,
            "args": {},
        }
        for at in range(4)
    ]
    import json

    trace, report = tmp_path / "trace.json", tmp_path / "k.csv"
    trace.write_text(json.dumps({"traceEvents": events}))
    report.write_text(f"{DETAILS}\n{row('Speed', 'Memory Throughput', '%', '70', name='void f<int>(int)')}")
    together = perfkit.diagnose(trace, kernels=[report])
    assert together.attribution == perfkit.diagnose(trace).attribution
    assert together.measures[0].memory_pct == 70.0
    assert perfkit.diagnose([trace, report]).measures == together.measures
