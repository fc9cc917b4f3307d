"""perfkit's attribution against an independent, slow and simple one: the same nanoseconds for the same causes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest

import perfkit
from perfkit.attribute import attribute
from tests import simulator, slow_attribution
from tests.integration.shared import TRACES, needs_shared

if TYPE_CHECKING:
    from pathlib import Path

WINDOWS: tuple[Literal["steps", "device-span"], ...] = ("steps", "device-span")
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


def quickly(path: Path, window: Literal["steps", "device-span"]) -> dict[int, Answer]:
    """Return the same of perfkit."""
    lines = attribute(perfkit.load(path), window=window).timelines
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


@needs_shared
@pytest.mark.parametrize("file", FILES)
def test_real_traces(file: str) -> None:
    slow = slow_attribution.Trace(TRACES / file)
    for window in WINDOWS:
        answer, expected = quickly(TRACES / file, window), slowly(slow, window)
        # The slow one knows the steps of ProfilerStep# alone.
        both = answer.keys() & expected.keys()
        assert {device: answer[device] for device in both} == {device: expected[device] for device in both}
        assert both or window == "steps"


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_simulated_traces(first: int, tmp_path: Path) -> None:
    compared = 0
    for seed in range(first, first + 50):
        path = tmp_path / ("trace.json.gz" if seed % 3 == 0 else "trace.json")
        simulator.write(simulator.record(simulator.random_program(seed)), path, STYLES[seed % len(STYLES)])
        slow = slow_attribution.Trace(path)
        for window in WINDOWS:
            expected, answer = slowly(slow, window), quickly(path, window)
            both = expected.keys() & answer.keys()
            assert {device: answer[device] for device in both} == {device: expected[device] for device in both}
            compared += len(both)
    assert compared > 50
