from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from perfkit.advise import advise
from perfkit.advise.registry import EVERY_RULE, choose
from perfkit.model.attribution import Blame
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


def test_stacks_alone_say_what_ran_and_for_how_long_it_waited() -> None:
    line = timeline({}, {"no_work": 600 * MS, "python": 400 * MS}, kind="host_thread", device_name="")
    blame = Blame(line.id, "python", "a.py(3): f", "thread 1", "a.py(3): f", 300 * MS, 9)
    assert verdict(line, blame=Table([blame])) == (
        "The busiest thread waits for work 60 % of the time and runs Python 40 %, most at `a.py(3): f` (30 %), and no "
        "operator was recorded: what was computed is not in this trace."
    )
    idle = timeline({}, {"no_work": 1000 * MS}, kind="host_thread", device_name="")
    assert verdict(idle).endswith(
        "waits for work all the time: nothing was asked of the program while it was recorded."
    )


def test_a_thread_without_requests_has_nothing_to_do() -> None:
    line = timeline({"compute": 200 * MS}, {"no_request": 800 * MS}, kind="host_thread", device_name="")
    assert (
        verdict(line) == "The busiest thread computes 20 % of the time: for the most of the rest it has nothing to do."
    )


def test_nothing_ran_while_perfkit_recorded() -> None:
    assert advise(attribution(), recorded_as="perfkit").verdict.startswith("Nothing ran while it was recorded: ")


def test_a_busy_device_has_nothing_worth_your_time() -> None:
    device = timeline({"compute": 990 * MS}, {"launch_latency": 5 * MS, "python": 5 * MS}, steps=5)
    advice = advise(attribution(device))
    assert advice.verdict == "The GPU is busy 99 % of each step: nothing that holds it up is worth your time."
    assert not advice.findings


def test_what_was_not_looked_for_is_not_denied() -> None:
    device = timeline({"compute": 600 * MS}, {"python": 400 * MS}, steps=4)
    few = choose(EVERY_RULE, ignore=["PK304"])
    found = advise(attribution(device), few).verdict
    assert found == "The GPU is busy 60 % of each step: nothing that was looked for is worth your time."


def test_a_moment_tells_nothing_however_busy_it_is() -> None:
    device = timeline({"compute": 20_000}, steps=1)
    assert verdict(device) == "The GPU is busy 100 % of the step: 20.0 us are too short to tell anything from."


def test_a_small_loss_is_called_small() -> None:
    device = timeline({"compute": 970 * MS}, {"python": 30 * MS}, steps=1)
    assert (
        verdict(device)
        == "The GPU computes 97 % of the step; the largest that has a remedy is small: it waits for Python code 3 %."
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
