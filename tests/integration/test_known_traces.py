"""Numbers that are known of real traces, and of our own from the stopwatch that ran beside the recording."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import perfkit
from tests.integration.shared import TRACES, defect_counts, kineto_files, needs_shared, only_timeline

if TYPE_CHECKING:
    from perfkit.model.attribution import Attribution

OWN = Path(__file__).parents[2] / "traces"


def diagnosed(path: Path, **options: str) -> Attribution:
    return perfkit.diagnose(path, **options).attribution  # type: ignore[arg-type]


@needs_shared
@pytest.mark.parametrize(("workers", "step_ms", "loading"), [(0, 175.5, 0.323), (4, 132.8, 0.004)])
def test_resnet50_with_and_without_loader_workers(workers: int, step_ms: float, loading: float) -> None:
    (path,) = (TRACES / "kineto" / f"resnet50_num_workers_{workers}").glob("*.gz")
    (line,) = diagnosed(path).timelines
    assert line.window_kind == "steps"
    assert line.window_ns / len(line.steps) / 1e6 == pytest.approx(step_ms, abs=0.05)
    assert line.idle.get("data_loading", 0) / line.window_ns == pytest.approx(loading, abs=0.01)


@needs_shared
def test_vllm_decode_hardly_idles() -> None:
    path = TRACES / "tracelens" / "traces" / "inference" / "vllm_decode_full" / "graph_execution.json.gz"
    (line,) = diagnosed(path, window="device-span").timelines
    assert line.idle_ns / line.window_ns == pytest.approx(0.0024, abs=0.0001)


@needs_shared
def test_owlv2_waits_for_data_while_its_host_waits_for_the_device() -> None:
    path = TRACES / "tracelens" / "traces" / "h100" / "google_owlv2-large-patch14-ensemble__1016001.json.gz"
    attribution = diagnosed(path)
    (line,) = attribution.timelines
    assert 0.4 < line.idle["data_loading"] / line.window_ns < 0.55
    assert line.idle["synchronization"] < 0.01 * line.window_ns
    (blocked,) = (row for row in attribution.blocked if row.cause == "synchronization")
    assert 0.25 < blocked.ns / blocked.window_ns < 0.4


@needs_shared
def test_symmetric_memory_is_communication() -> None:
    """Most of what the B200 trace's devices say to each other goes by multimem, not by NCCL."""
    found = diagnosed(TRACES / "tracelens" / "traces" / "b200" / "eager_trace.json.gz", window="device-span")
    spent = {"multimem": 0, "nccl": 0}
    for kernel in found.kernels:
        family = next((family for family in spent if family in kernel.name.lower()), "")
        assert (kernel.kind == "communication") == bool(family)
        if family:
            spent[family] += kernel.device_ns
    assert spent["multimem"] / 1e6 == pytest.approx(2.12, abs=0.005)
    assert spent["nccl"] / 1e6 == pytest.approx(0.02, abs=0.005)
    (line,) = found.timelines
    assert line.communication_ns <= sum(spent.values())


# Traces of whose window 5 % or more is unattributed, and the defect that says why.
EXPLAINED = {
    "hta/critical_path/cuda_event_sync_multi_stream/event_sync_trace.json.gz": "host_events_missing",
    "hta/trace_compare/base/base.json.gz": "activities_without_launch",
    "hta/trace_filter/sampled_rank-0.json.gz": "host_events_missing",
    "hta/trace_filter/sampled_rank-1.json.gz": "host_events_missing",
    "hta/with_gpu_user_annotation/step_based_trace_2543932.json.gz": "host_events_missing",
    "tracelens/traces/mi210/gpu_only_trace/gpu_only_trace.json.gz": "host_events_missing",
}


@needs_shared
@pytest.mark.parametrize("file", kineto_files())
def test_unattributed_time_is_small_or_a_defect_explains_it(file: str) -> None:
    line, defects = only_timeline(file, "steps"), defect_counts(file, "steps")
    unattributed = {cause: ns for cause, ns in line.idle.items() if cause.startswith("unattributed")}
    large = sum(unattributed.values()) >= 0.05 * line.window_ns
    assert large == (file in EXPLAINED)
    assert not large or EXPLAINED[file] in defects
    silent = unattributed.get("unattributed_host_silent", 0) >= 0.01 * line.window_ns
    assert silent == ("host_events_missing" in defects)
    assert ("unattributed_no_launch" not in unattributed) or defects["activities_without_launch"]


def own_traces() -> list[dict[str, object]]:
    return tomllib.loads((OWN / "MANIFEST.toml").read_text())["trace"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("entry", own_traces(), ids=lambda entry: str(entry["file"]))
def test_own_traces_show_what_the_stopwatch_beside_them_saw(entry: dict[str, object]) -> None:
    attribution = diagnosed(OWN / str(entry["file"]))
    (line,) = attribution.timelines
    assert len(line.steps) + len(attribution.window.dropped) == entry["steps"]
    truth = entry["truth"]
    assert isinstance(truth, dict)
    if line.kind == "host_thread":
        assert line.window_ns / len(line.steps) == pytest.approx(truth["profiled_host_step_ns"], rel=0.03)
    lost = line.idle.get("data_loading", 0) / line.window_ns
    if str(entry["file"]).startswith("loader_"):
        assert lost == pytest.approx(truth["profiled_fault_ns"] / truth["profiled_host_step_ns"], abs=0.05)
    else:
        assert lost == 0
