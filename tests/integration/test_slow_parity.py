"""perfkit's attribution against an independent, slow and simple one: the same nanoseconds for the same causes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import perfkit
from perfkit.attribute import attribute
from perfkit.attribute.host import Host
from perfkit.attribute.idle import BLOCK, explain_gaps
from perfkit.attribute.timeline import devices
from perfkit.attribute.work import collect
from perfkit.model.attribution import IDLE_CAUSES
from tests import simulator, slow_attribution, slow_nsight
from tests.integration.shared import TRACES, WINDOWS, Window, attribution, check_sums, load, needs_shared

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.model.trace import Trace

FILES = (
    "hta/critical_path/alexnet/benchmark_result_2869224_1695835535_trace.json.gz",
    "hta/nccl_parser_config/nccl_data.json.gz",
    "hta/trace_filter/sampled_rank-0.json.gz",
    "hta/with_gpu_user_annotation/step_based_trace_2543932.json.gz",
    "kineto/resnet50_num_workers_0/worker0.1623143089861.pt.trace.json.gz",
    "kineto/resnet50_num_workers_4/worker0.1623212756351.pt.trace.json.gz",
    "param/dlrm/worker3_step_12.1694128201557.pt.trace.json",
    "tracelens/traces/b200/eager_trace.json.gz",
    "tracelens/traces/h100/gaunernst_bert-small-uncased__1016001.json.gz",
    "tracelens/traces/h100/google_owlv2-large-patch14-ensemble__1016001.json.gz",
    "tracelens/traces/inference/vllm_decode_full/graph_execution.json.gz",
    "tracelens/traces/mi300/resnet_act_checkpoint.json.gz",
)
STYLES = (
    simulator.Style(),
    simulator.Style(layout="compact", absolute=False, shuffled=5),
    simulator.Style(layout="pretty", numbers_as_text=True),
    simulator.Style(old_names=True, top_level_list=True, extras=False),
)

Answer = tuple[int, int, dict[str, int], dict[str, int]]


def slowly(trace: slow_attribution.Trace, window: str) -> dict[int, Answer]:
    """Return device -> (length, orphans, busy, idle), without zeros; steps without device work have no answer."""
    answers = {}
    for key in trace.activities:
        line: Any = trace.attribute(key, window)
        if line is not None and line.end > line.start:
            busy = {name: ns for name, ns in line.busy.items() if ns}
            answers[int(line.device)] = (line.end - line.start, line.unlinked, busy, dict(line.idle))
    return answers


def quickly(trace: Trace, window: Window) -> dict[int, Answer]:
    """Return the same of perfkit."""
    lines = attribute(trace, window=window).timelines
    return {
        line.device: (
            line.window_ns,
            line.unlinked_activities,
            {k: ns for k, ns in line.busy.items() if ns},
            dict(line.idle),
        )
        for line in lines
        if line.window_kind == window
    }


def gap_by_gap(trace: Trace, slow: slow_attribution.Trace) -> tuple[int, int]:
    """Return on how many idle ns of the device spans both agree in every single gap, and how many there are."""
    work = collect(trace)
    host = Host(work)
    written_ns = trace.epoch_ns - int(trace.header.get("baseTimeNanoseconds", 0))
    if trace.format == "nsight-systems":
        written_ns = min(row.start for row in slow.rows)
    agreed, idle = 0, 0
    for device in devices(work):
        key = next(key for key in slow.activities if int(key[1]) == device.index)
        line: Any = slow.attribute(key, "device-span")
        starts = np.array([gap.start for gap in line.gaps], np.int64) - written_ns
        ends = np.array([gap.end for gap in line.gaps], np.int64) - written_ns
        ours: list[Counter[str]] = [Counter() for _ in line.gaps]
        for block, pieces in enumerate(explain_gaps(host, work.activities, device.mine, starts, ends)):
            spans = zip(pieces.gap.tolist(), pieces.cause.tolist(), (pieces.end - pieces.start).tolist(), strict=True)
            for gap, cause, ns in spans:
                ours[BLOCK * block + gap][IDLE_CAUSES[cause]] += ns
        agreed += sum((mine & Counter(gap.causes)).total() for mine, gap in zip(ours, line.gaps, strict=True))
        idle += sum(gap.end - gap.start for gap in line.gaps)
    return agreed, idle


@needs_shared
@pytest.mark.parametrize("file", FILES)
def test_real_traces(file: str) -> None:
    slow = slow_attribution.Trace(slow_attribution.read_rows(TRACES / file))
    for window in WINDOWS:
        answer, expected = quickly(load(file), window), slowly(slow, window)
        # The slow one knows the steps of ProfilerStep# alone.
        both = answer.keys() & expected.keys()
        assert {device: answer[device] for device in both} == {device: expected[device] for device in both}
        assert both or window == "steps"
    agreed, idle = gap_by_gap(load(file), slow)
    assert agreed == idle > 0


NSIGHT = (
    "nsys/nsightful/power_iteration__baseline.sqlite",
    "nsys/nsys-ai/mfu_2gpu_after.sqlite",
    "nsys/nsys-ai/mfu_2gpu_before.sqlite",
    "nsys/pipit/perlmutter-cloverleaf-cuda.sqlite",
)


@needs_shared
@pytest.mark.parametrize("file", NSIGHT)
def test_real_exports_of_nsight_systems(file: str) -> None:
    slow = slow_attribution.Trace(slow_nsight.read_rows(TRACES / file))
    assert quickly(load(file), "device-span") == slowly(slow, "device-span") != {}
    agreed, idle = gap_by_gap(load(file), slow)
    assert agreed == idle > 0


@needs_shared
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("file", [*NSIGHT, "nsys/python_c_nvidia/report1.sqlite"])
def test_every_ns_of_an_export_has_one_owner(file: str, window: Window) -> None:
    found = attribution(file, window)
    check_sums(found)
    assert found.timelines


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_simulated_traces(first: int, tmp_path: Path) -> None:
    compared = 0
    for seed in range(first, first + 50):
        path = tmp_path / ("trace.json.gz" if seed % 3 == 0 else "trace.json")
        simulator.write(simulator.record(simulator.random_program(seed)), path, STYLES[seed % len(STYLES)])
        slow, trace = slow_attribution.Trace(slow_attribution.read_rows(path)), perfkit.load(path)
        for window in WINDOWS:
            expected, answer = slowly(slow, window), quickly(trace, window)
            both = expected.keys() & answer.keys()
            assert {device: answer[device] for device in both} == {device: expected[device] for device in both}
            compared += len(both)
        agreed, idle = gap_by_gap(trace, slow)
        assert agreed == idle
    assert compared > 50
