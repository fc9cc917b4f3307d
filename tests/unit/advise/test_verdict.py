from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from perfkit.advise import advise
from perfkit.model.signs import Signs, Stretch
from perfkit.model.table import Table
from tests.diagnoses import MS, attribution, empty, host_only, loader_bound, timeline, two_devices

if TYPE_CHECKING:
    from collections.abc import Callable

    from perfkit.model.attribution import Timeline, WindowKind
    from perfkit.model.diagnosis import Diagnosis

    Make = Callable[[], Diagnosis]


def verdict(*timelines: Timeline, **tables: Any) -> str:
    return advise(attribution(*timelines, **tables)).verdict


@pytest.mark.parametrize(
    ("diagnosis", "sentence"),
    [
        (loader_bound, "The GPU waits for data 30 % of each step and computes 50 %."),
        (two_devices, "GPU 1 (of 2) does nothing but communicate 38 % of the time and computes 60 %."),
        (host_only, "The busiest thread computes 97 % of the time: nothing that holds it up is worth your time."),
        (empty, "The trace holds no activity whose time could be attributed."),
    ],
)
def test_verdict(diagnosis: Make, sentence: str) -> None:
    assert diagnosis().advice.verdict == sentence


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("steps", "Nothing ran within the recorded steps: look at the whole recording with `--window device-span`."),
        ("device-span", "The trace holds 7 device activities of no length: there is no time to attribute."),
    ],
)
def test_a_window_of_no_length(kind: WindowKind, sentence: str) -> None:
    assert verdict(timeline({}, {})._replace(window_kind=kind, activities=7)) == sentence


def test_a_busy_device_has_nothing_worth_your_time() -> None:
    device = timeline({"compute": 990 * MS}, {"launch_latency": 5 * MS, "python": 5 * MS}, steps=5)
    advice = advise(attribution(device))
    assert advice.verdict == "The GPU is busy 99 % of each step: nothing that holds it up is worth your time."
    assert not advice.findings


def test_a_small_loss_is_called_small() -> None:
    device = timeline({"compute": 970 * MS}, {"python": 30 * MS}, steps=1)
    assert (
        verdict(device) == "The GPU computes 97 % of the step; the largest loss is small: it waits for Python code 3 %."
    )


def test_many_small_losses_are_said_to_be_many() -> None:
    idle = {"data_loading": 9 * MS, "python": 9 * MS, "unattributed_edge": 45 * MS, "queued_in_graph": 45 * MS}
    device = timeline({"compute": 892 * MS}, idle)
    assert verdict(device).endswith(": no single cause of its idle time is worth your time.")


def test_a_handful_of_kernels_is_too_short() -> None:
    assert verdict(timeline({"compute": 10_000}, {"python": 40_000})).endswith(
        ": 50.0 us are too short to tell anything from."
    )


def test_a_host_thread_is_not_spoken_of_as_a_device() -> None:
    thread = timeline({"compute": 60 * MS}, {"python": 40 * MS}, steps=2, kind="host_thread")
    silence = Stretch(thread.id, "no_operator", "train.py(3): main", 2, 40 * MS, 0, 0, 0, 0, ())
    signs = Signs(stretches=Table([silence]))
    assert (
        verdict(thread, signs=signs)
        == "The busiest thread runs Python outside of operators 40 % of each step and computes 60 %."
    )


def test_the_same_device_number_in_two_processes_is_told_apart() -> None:
    first = timeline({"compute": 60 * MS}, {"data_loading": 40 * MS})
    second = timeline({"compute": 90 * MS}, {"data_loading": 10 * MS}, id="72/0", process="72")
    assert verdict(first, second).startswith("GPU 0 of process `71` (of 2) waits for data 40 %")


def test_without_findings_the_least_computing_device_is_the_one_spoken_of() -> None:
    first = timeline({"compute": 999 * MS}, {"python": MS})
    second = timeline({"compute": 992 * MS}, {"python": 8 * MS}, id="71/1", device=1)
    advice = advise(attribution(first, second))
    assert advice.timeline == "71/1"
    assert advice.verdict.startswith("GPU 1 (of 2) is busy 99 %")
