from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from perfkit.advise import advise
from perfkit.model.attribution import Blame
from tests.diagnoses import MS, attribution, empty, loader_bound, timeline

if TYPE_CHECKING:
    from perfkit.model.attribution import Timeline


def next_steps(*timelines: Timeline, **tables: Any) -> str:
    return " ".join(advise(attribution(*timelines, **tables)).next_steps)


def test_the_worst_finding_is_explained_first() -> None:
    assert loader_bound().advice.next_steps == ("`perfkit explain PK103`: what it means, and how to repair it.",)


def test_nothing_found_in_good_steps_needs_nothing() -> None:
    assert next_steps(timeline({"compute": 100 * MS}, {}, steps=4)) == ""
    assert empty().advice.next_steps == ()


def test_a_recording_without_steps_or_with_few_asks_for_more() -> None:
    assert "`profiler.step()`" in next_steps(timeline({"compute": 100 * MS}, {}))
    assert "five steps" in next_steps(timeline({"compute": 100 * MS}, {}, steps=2))


def test_missing_lines_of_python_ask_for_stacks() -> None:
    device = timeline({"compute": 60 * MS}, {"python": 40 * MS}, steps=4)
    without = Blame(device.id, "python", "forward", "t", "", 40 * MS, 3)
    within = Blame(device.id, "python", "forward", "t", "net.py(3): forward", 40 * MS, 3)
    assert "with_stack=True" in next_steps(device, blame=[without])
    assert "with_stack=True" not in next_steps(device, blame=[within])


def test_a_host_thread_asks_for_the_device() -> None:
    assert "activities=[CPU, CUDA]" in next_steps(timeline({"compute": 100 * MS}, {}, steps=4, kind="host_thread"))


@pytest.mark.parametrize("recorded_as", ["nsight-systems", "rocprofv3", "trtexec", "triton-server", "onnxruntime"])
def test_what_pytorch_could_record_is_not_asked_of_others(recorded_as: str) -> None:
    found = attribution(timeline({"compute": 100 * MS}, {}, kind="host_thread"))
    said = " ".join(advise(found, recorded_as=recorded_as).next_steps)
    assert "profiler.step()" not in said
    assert "activities=" not in said
    assert "profiler.step()" in " ".join(advise(found).next_steps)
