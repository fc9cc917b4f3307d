"""Reports of Nsight Compute, against what its own pages say of the same kernels."""

from __future__ import annotations

import csv
import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from perfkit import diagnose
from tests.integration.shared import TRACES, needs_shared
from tests.unit.cli.command_line import fail, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_shared

TRITON = TRACES / "ncu" / "cs599k" / "silu-triton.ncu-rep"
PYTORCH = TRACES / "ncu" / "cs599k" / "silu-pytorch.ncu-rep"
COPY = TRACES / "ncu" / "nsightful" / "copy_blocked.csv"


def test_a_kernel_profiled_in_full() -> None:
    pytest.importorskip("ncu_report", reason="NVIDIA's reader of reports is not installed")
    (kernel,) = diagnose(PYTORCH).profiles
    assert (kernel.duration_ns, kernel.registers, kernel.limiter) == (775_680, 42, "registers")
    assert (kernel.grid, kernel.block, kernel.device_name) == ((1056, 1, 1), (256, 1, 1), "NVIDIA GH200 480GB")
    measured = (kernel.compute_pct, kernel.memory_pct, kernel.dram_pct, kernel.l2_pct, kernel.l1_pct)
    assert measured == pytest.approx((77.24, 33.53, 33.53, 32.16, 21.60), abs=0.005)
    assert (kernel.occupancy_pct, kernel.theoretical_occupancy_pct) == pytest.approx((50.40, 62.5), abs=0.005)
    assert (kernel.limit, kernel.limit_pct) == ("compute", kernel.compute_pct)
    assert kernel.headroom_pct == pytest.approx(22.76, abs=0.005)
    assert {rule.name for rule in kernel.rules} == {
        "SOLBottleneck", "AchievedOccupancy", "LaunchConfiguration", "TheoreticalOccupancy",
    }  # fmt: skip
    assert all("@" not in rule.text for rule in kernel.rules)


def test_what_was_not_measured_is_absent() -> None:
    pytest.importorskip("ncu_report", reason="NVIDIA's reader of reports is not installed")
    (kernel,) = diagnose(TRITON).profiles
    assert (kernel.duration_ns, kernel.limiter, kernel.theoretical_occupancy_pct) == (141_920, "registers", 50.0)
    assert kernel.compute_pct == pytest.approx(69.11, abs=0.005)
    assert kernel.compute_metric == "sm__instruction_throughput.avg.pct_of_peak_sustained_active"
    assert (kernel.memory_pct, kernel.dram_bytes, kernel.occupancy_pct, kernel.stalls) == (None, None, None, ())
    assert (kernel.limit, kernel.limit_pct, kernel.roof_ns) == ("unknown", None, None)
    assert "memory not measured" in kernel.limit_reason


def test_what_was_printed_as_csv() -> None:
    (kernel,) = diagnose(COPY).profiles
    with COPY.open() as file:
        said = {row["Metric Name"]: row["Metric Value"] for row in csv.DictReader(file) if row["Metric Unit"] == "%"}
    assert (kernel.duration_ns, kernel.limiter, kernel.compute_capability) == (21_058_944, "warps", "7.5")
    assert (kernel.memory_pct, kernel.compute_pct) == (61.84, 1.30)
    assert kernel.occupancy_pct == float(said["Achieved Occupancy"])
    assert kernel.l2_pct == float(said["L2 Cache Throughput"])
    assert kernel.dram_bytes_per_s == pytest.approx(196.456e9, rel=1e-5)
    assert kernel.limit == "memory"
    assert [round(stall.share, 3) for stall in kernel.stalls] == [0.527, 0.469]


def test_two_reports_are_compared_in_one_table() -> None:
    pytest.importorskip("ncu_report", reason="NVIDIA's reader of reports is not installed")
    before = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (TRITON, PYTORCH)]
    done = run("diagnose", TRITON, PYTORCH, "--format", "markdown")
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode()
    assert "|  | `silu-triton.ncu-rep #0` | `silu-pytorch.ncu-rep #0` |" in text
    assert "| duration | 142 us | 776 us |" in text
    assert "| memory | - | 33.5 % |" in text
    assert before == [hashlib.sha256(path.read_bytes()).hexdigest() for path in (TRITON, PYTORCH)]
    document = json.loads(run("diagnose", TRITON, PYTORCH, "--format", "json").stdout)
    assert [kernel["duration_ns"] for kernel in document["kernel_profiles"]] == [141_920, 775_680]


def test_a_report_that_breaks_off(tmp_path: Path) -> None:
    pytest.importorskip("ncu_report", reason="NVIDIA's reader of reports is not installed")
    path = tmp_path / "cut.ncu-rep"
    for size in (4, 100, 5_000, 300_000):
        path.write_bytes(PYTORCH.read_bytes()[:size])
        assert "cannot be read as a report of Nsight Compute" in fail("diagnose", path)
