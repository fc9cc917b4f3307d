"""Device time against answers that were computed by others, to the nanosecond."""

from __future__ import annotations

import csv
import gzip
import json

import pytest

from tests.integration.shared import (
    SHARED,
    TRACES,
    attribution,
    defect_counts,
    exact_unions,
    needs_shared,
    only_timeline,
)

pytestmark = needs_shared

EXACT = exact_unions()

# TraceLens's timeline, and the trace that it is of.
TRACELENS = {
    "h100_gaunernst_bert-small-uncased__1016001": "h100/gaunernst_bert-small-uncased__1016001.json.gz",
    "h100_google_owlv2-large-patch14-ensemble__1016001": "h100/google_owlv2-large-patch14-ensemble__1016001.json.gz",
    "mi210_gpu_only_trace": "mi210/gpu_only_trace/gpu_only_trace.json.gz",
    "mi300_gaunernst_bert-small-uncased__1016001": "mi300/gaunernst_bert-small-uncased__1016001.json.gz",
    "torch_compile_triton": "torch_compile_triton/trace.json.gz",
    "vllm_decode_full": "inference/vllm_decode_full/graph_execution.json.gz",
}
AGREES_NS = 20


@pytest.mark.parametrize("file", EXACT)
def test_the_device_span_equals_an_exact_union(file: str) -> None:
    line, exact, defects = only_timeline(file, "device-span"), EXACT[file], defect_counts(file, "device-span")
    assert (line.window_ns, line.busy_ns, line.idle_ns) == (exact["span_ns"], exact["busy_ns"], exact["idle_ns"])
    assert (line.kernel_union_ns, line.kernel_sum_ns) == (exact["kernel_union_ns"], exact["kernel_sum_ns"])
    assert (line.activities, line.unlinked_activities) == (exact["n_gpu_events"], exact["no_launch"])
    assert defects.get("overlapping_activities", 0) == exact["same_track_overlaps"]
    assert defects.get("activities_without_launch", 0) == exact["no_launch"]
    calls = sum(kernel.calls for kernel in attribution(file, "device-span").kernels if kernel.kind != "memset")
    assert calls == exact["n_kernels"]


def test_every_answer_was_looked_at() -> None:
    assert len(EXACT) == 27


@pytest.mark.parametrize("name", TRACELENS)
def test_tracelens_agrees(name: str) -> None:
    """Its times are doubles of microseconds, so a difference is explained where the same doubles give its own sums."""
    file = f"tracelens/traces/{TRACELENS[name]}"
    with (SHARED / "oracles" / "tracelens_gpu_timeline" / f"{name}.csv").open(encoding="utf-8") as table:
        theirs = {row["type"]: float(row["time ms"]) * 1e6 for row in csv.DictReader(table)}
    line = only_timeline(file, "device-span")
    ours = {
        "computation_time": line.busy["compute"],
        "exposed_comm_time": line.busy["exposed_communication"],
        "exposed_memcpy_time": line.busy["exposed_copy"],
        "busy_time": line.busy_ns,
        "idle_time": line.idle_ns,
        "total_time": line.window_ns,
        "total_comm_time": line.communication_ns,
        "total_memcpy_time": line.copy_ns,
    }
    rounding = abs(busy_in_doubles(file) - line.busy_ns)
    assert abs(theirs["busy_time"] - busy_in_doubles(file)) < 0.01
    for key, ns in ours.items():
        assert abs(ns - theirs[key]) <= max(AGREES_NS, rounding + 1), key


def busy_in_doubles(file: str) -> float:
    """Union of device time in ns, of times that are doubles of microseconds as `json` reads them."""
    events = json.loads(gzip.decompress((TRACES / file).read_bytes()))["traceEvents"]
    work = [e for e in events if e.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset") and e.get("ph") == "X"]
    busy_us, reach = 0.0, float("-inf")
    for start, end in sorted((float(e["ts"]), float(e["ts"]) + float(e["dur"])) for e in work):
        busy_us += max(0.0, end - max(start, reach))
        reach = max(reach, end)
    return busy_us * 1_000
