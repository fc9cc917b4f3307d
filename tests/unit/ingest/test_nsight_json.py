"""Exports of Nsight Systems as Chrome events, by hand after the layout of nsys2json."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

import perfkit
from perfkit.model.trace import Category
from tests.integration.shared import check_sums

pytestmark = pytest.mark.usefixtures("scanner")


def event(cat: str, name: str, ts: float, dur: float, *, pid: str = "Host 0", tid: str = "CUDA API 40") -> Any:
    return {"name": name, "ph": "X", "cat": cat, "ts": ts, "dur": dur, "tid": tid, "pid": pid, "args": {}}


def kernel(name: str, ts: float, dur: float, device: int = 0) -> Any:
    return event("cuda", name, ts, dur, pid=f"Device {device}", tid="CUDA API 7")


EVENTS = [
    kernel("gemm", 10.5, 4.25),
    event("nvtx-kernel", "layer", 10.5, 9, pid="Device 0", tid="NVTX 40"),
    event("cuda_api", "cudaLaunchKernel", 1, 2),
    event("nvtx", "layer", 0, 5, tid="NVTX 40"),
    kernel("relu", 16, 3),
    kernel("gemm", 11, 1, device=1),
]


def test_kernels_are_on_their_devices_and_ranges_are_no_work() -> None:
    found = perfkit.diagnose(io.BytesIO(json.dumps(EVENTS).encode()))
    check_sums(found.attribution)
    assert (found.trace.format, found.trace.defects) == ("nsight-systems-json", ())
    lines = {line.device: (line.busy["compute"], dict(line.idle)) for line in found.attribution.timelines}
    assert lines == {0: (7_250, {"unattributed_no_launch": 1_250}), 1: (1_000, {})}


@pytest.mark.parametrize("first", range(len(EVENTS)))
def test_any_event_may_come_first(first: int) -> None:
    trace = perfkit.load(io.BytesIO(json.dumps(EVENTS[first:] + EVENTS[:first]).encode()))
    assert trace.format == "nsight-systems-json"
    assert len(trace.rows(Category.KERNEL)) == 3


def test_categories_that_are_not_known_are_counted() -> None:
    trace = perfkit.load(io.BytesIO(json.dumps([*EVENTS, event("other", "x", 3, 1)]).encode()))
    assert [(defect.kind, defect.count) for defect in trace.defects] == [("unknown_category", 1)]
    assert "'other'" in trace.defects[0].message
