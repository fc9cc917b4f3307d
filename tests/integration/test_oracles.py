"""Real traces against answers that were computed without perfkit, and the invariant on all of them."""

from __future__ import annotations

import csv
import gzip
import json
from itertools import permutations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest

import perfkit
from perfkit.attribute import attribute
from tests import simulator
from tests.integration.shared import SHARED, TRACES, exact_unions, kineto_files, needs_shared

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.model.attribution import Attribution

WINDOWS: tuple[Literal["steps", "device-span"], ...] = ("steps", "device-span")
DLRM = sorted((TRACES / "param" / "dlrm").glob("*.json"))
NOTHING_TO_READ = {"malformed/git_lfs_pointer.json.gz", "malformed/zero_bytes.json"}
TRACELENS = {
    "h100_gaunernst_bert-small-uncased__1016001": "h100/gaunernst_bert-small-uncased__1016001.json.gz",
    "h100_google_owlv2-large-patch14-ensemble__1016001": "h100/google_owlv2-large-patch14-ensemble__1016001.json.gz",
    "mi210_gpu_only_trace": "mi210/gpu_only_trace/gpu_only_trace.json.gz",
    "mi300_gaunernst_bert-small-uncased__1016001": "mi300/gaunernst_bert-small-uncased__1016001.json.gz",
    "torch_compile_triton": "torch_compile_triton/trace.json.gz",
    "vllm_decode_full": "inference/vllm_decode_full/graph_execution.json.gz",
}
PARTS = {
    "computation_time": "compute",
    "exposed_comm_time": "exposed_communication",
    "exposed_memcpy_time": "exposed_copy",
}


def check_sums(attribution: Attribution) -> None:
    """Every nanosecond of every timeline and step has exactly one owner."""
    for line in attribution.timelines:
        assert sum(line.busy.values()) + sum(line.idle.values()) == line.end_ns - line.start_ns
        assert min([*line.busy.values(), *line.idle.values()]) >= 0
        for step in line.steps:
            assert sum(step.busy.values()) + sum(step.idle.values()) == step.end_ns - step.start_ns
        if line.steps:
            assert sum(step.end_ns - step.start_ns for step in line.steps) == line.window_ns


@needs_shared
@pytest.mark.parametrize("answer", exact_unions(), ids=lambda answer: str(answer["file"]))
def test_busy_union_sum_span_and_orphans_to_the_nanosecond(answer: dict[str, Any]) -> None:
    lines = attribute(perfkit.load(TRACES / answer["file"]), window="device-span").timelines
    assert len(lines) == 1
    line = lines[0]
    ours = (
        line.busy_ns,
        line.kernel_union_ns,
        line.kernel_sum_ns,
        line.window_ns,
        line.idle_ns,
        line.unlinked_activities,
    )
    keys = ("busy_ns", "kernel_union_ns", "kernel_sum_ns", "span_ns", "idle_ns", "no_launch")
    assert ours == tuple(answer[key] for key in keys)


@needs_shared
@pytest.mark.parametrize("name", TRACELENS)
def test_tracelens_timeline_or_a_defect_that_explains_the_difference(name: str) -> None:
    with (SHARED / "oracles" / "tracelens_gpu_timeline" / f"{name}.csv").open() as lines:
        theirs = {row["type"]: round(float(row["time ms"]) * 1e6) for row in csv.DictReader(lines)}
    trace = perfkit.load(TRACES / "tracelens" / "traces" / TRACELENS[name])
    attribution = attribute(trace, window="device-span")
    line = attribution.timelines[0]
    # Their times are float64 microseconds: each activity adds up to one spacing of a double of that size.
    written_ns = trace.epoch_ns - int(trace.header.get("baseTimeNanoseconds", 0))
    tolerance_ns = 20 + line.activities * float(np.spacing(written_ns / 1e3)) * 1e3
    differing = [part for part, ours in PARTS.items() if abs(theirs[part] - line.busy[ours]) > tolerance_ns]
    if abs(theirs["idle_time"] - line.idle_ns) > tolerance_ns:
        differing.append("idle_time")
    explained = {defect.kind for defect in attribution.defects} & {
        "activities_without_launch",
        "overlapping_activities",
    }
    assert not differing or explained


@needs_shared
@pytest.mark.parametrize("file", kineto_files(malformed=True))
def test_sums_are_exact_on_every_trace_that_can_be_read(file: str) -> None:
    if file in NOTHING_TO_READ:
        with pytest.raises(perfkit.PerfkitError, match=r"^[^\n]+$"):
            perfkit.load(TRACES / file)
        return
    trace = perfkit.load(TRACES / file)
    for window in WINDOWS:
        attribution = attribute(trace, window=window)
        assert attribution.timelines or any(defect.kind == "no_events" for defect in trace.defects)
        check_sums(attribution)


@needs_shared
@pytest.mark.parametrize("order", list(permutations(range(2))))
def test_two_merged_ranks_are_attributed_as_if_apart(order: tuple[int, int], tmp_path: Path) -> None:
    ranks = [json.loads(DLRM[index].read_text(), parse_float=str) for index in order]
    merged = tmp_path / "merged.json.gz"
    with gzip.open(merged, "wt") as file:
        json.dump({"traceEvents": [event for rank in ranks for event in rank["traceEvents"]]}, file)
    whole = attribute(perfkit.load(merged), window="device-span")
    check_sums(whole)
    found = {line.process: (line.device, line.busy, line.idle, line.unlinked_activities) for line in whole.timelines}
    for index in order:
        (line,) = attribute(perfkit.load(DLRM[index]), window="device-span").timelines
        assert found.pop(line.process) == (line.device, line.busy, line.idle, line.unlinked_activities)
    assert not found


@pytest.mark.parametrize("first", range(0, 1000, 100))
def test_sums_are_exact_on_simulated_traces(first: int, tmp_path: Path) -> None:
    for seed in range(first, first + 100):
        path = tmp_path / f"{seed}.json"
        simulator.write(simulator.record(simulator.random_program(seed)), path)
        trace = perfkit.load(path)
        for window in WINDOWS:
            check_sums(attribute(trace, window=window))
