"""Predictions against the truth: the simulator runs the same program again, with the fault removed.

The programs are the simulator's random ones, written for other tests: streams that threads share, launches that nobody
recorded, graphs, collectives, several devices and processes. Nothing in the replay knows them.
"""

from __future__ import annotations

import collections
import statistics
from typing import TYPE_CHECKING

import pytest

from tests import simulator
from tests.simulator.what_ifs import KINDS, PLAIN, Outcome, is_plain, outcomes
from tests.simulator.without import DRAWN, GRANTED

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("predictions")  # one worker: they read what is predicted once

PROGRAMS = 40
LONG_PROGRAMS = 6
REAL_PROGRAMS, AS_LONG_AS_REAL = 3, 8
"""Of programs whose windows are as long as those of real recordings, how many, and how many times longer."""
TOGETHER = 4
"""Kinds of change tried on each program."""
LONGER = 4
"""Of long programs, how many times more steps there are, and how many times as long each is."""
LAUNCHED = "graph captured"
"""What launching a graph takes, the trace cannot tell; in a window of a few hundred microseconds it is much."""


def try_programs(programs: int, scale: int, path: Path) -> dict[str, list[Outcome]]:
    """Predictions and what was, by kind of change, over all devices of some programs."""
    found: dict[str, list[Outcome]] = collections.defaultdict(list)
    names = sorted(KINDS)
    for seed in range(programs):
        chosen = [names[(seed * TOGETHER + place) % len(names)] for place in range(TOGETHER)]
        for one in outcomes(seed, chosen, path, scale):
            found[one.kind].append(one)
    return found


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Outcome]]:
    """Predictions for programs of a few milliseconds."""
    return try_programs(PROGRAMS, 1, tmp_path_factory.mktemp("predictions") / "trace.json")


@pytest.fixture(scope="module")
def tried_longer(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """Predictions for programs of tens of milliseconds, captured graphs apart."""
    found = try_programs(LONG_PROGRAMS, LONGER, tmp_path_factory.mktemp("predictions") / "trace.json")
    return [one for kind, some in found.items() for one in some if kind != LAUNCHED]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_is_predicted_is_what_happens(tried: dict[str, list[Outcome]], kind: str) -> None:
    mistakes = [one.error for one in tried[kind]]
    assert len(mistakes) > PROGRAMS / 4
    assert statistics.median(mistakes) < (0.02 if kind == LAUNCHED else 0.005)
    assert sum(mistake <= 0.05 for mistake in mistakes) >= (0.75 if kind == LAUNCHED else 0.85) * len(mistakes) - 1


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_interval_holds_what_happens(tried: dict[str, list[Outcome]], kind: str) -> None:
    assert sum(one.held for one in tried[kind]) >= (0.9 if kind == LAUNCHED else 0.8) * len(tried[kind]) - 1


def test_nearly_all_predictions_are_near_and_nearly_all_intervals_hold(tried: dict[str, list[Outcome]]) -> None:
    found = [one for kind, some in tried.items() for one in some if kind != LAUNCHED]
    assert sum(one.error <= 0.05 for one in found) >= 0.975 * len(found)
    assert sum(one.held for one in found) >= 0.95 * len(found)
    assert sum(one.error <= 0.05 or one.held for one in found) >= 0.995 * len(found)


def test_a_prediction_that_does_not_call_itself_rough_is_near(tried: dict[str, list[Outcome]]) -> None:
    sure = [one for some in tried.values() for one in some if not one.rough]
    assert len(sure) > sum(map(len, tried.values())) / 2
    assert sum(one.error <= 0.05 for one in sure) >= 0.995 * len(sure)


def test_in_longer_windows_few_are_rough_and_hardly_any_is_off(tried_longer: list[Outcome]) -> None:
    assert sum(one.rough for one in tried_longer) < 0.5 * len(tried_longer)
    assert sum(one.error <= 0.05 for one in tried_longer) >= 0.98 * len(tried_longer)


def test_as_long_as_real_ones_and_with_what_is_taken_for_granted_each_is_near(tmp_path: Path) -> None:
    for seed in range(REAL_PROGRAMS):
        found = outcomes(seed, sorted(KINDS), tmp_path / "trace.json", AS_LONG_AS_REAL, GRANTED)
        assert [one for one in found if one.error > 0.05] == []
        assert sum(one.measured_ns for one in found) > 50e6 * len(found)


def test_intervals_are_as_wide_as_they_have_to_be(tried: dict[str, list[Outcome]]) -> None:
    widths = sorted(one.width for kind, some in tried.items() for one in some if kind != LAUNCHED)
    assert statistics.median(widths) < 0.01
    assert widths[len(widths) * 3 // 4] < 0.08
    assert widths[len(widths) * 9 // 10] < 0.5


@pytest.mark.parametrize(
    ("seed", "scale", "kind"),
    [
        pytest.param(3041, 1, "compilation removed", id="a thread beside is not waited for"),
        pytest.param(3106, 1, "compilation removed", id="what others had launched by then is waited for"),
        pytest.param(3047, 1, "operator_dispatch removed", id="an event of a stream that another thread launched on"),
        pytest.param(3080, 1, "copies overlapped", id="an event behind a copy that is gone"),
        pytest.param(3090, 1, "operator faster", id="work of unknown threads has no events"),
        pytest.param(19, 1, "loader overlapped", id="and waited for no longer once that comes later"),
        pytest.param(83, 1, "loader faster", id="the first of a stream comes to be behind others"),
        pytest.param(52, 4, "graph captured", id="a graph on several devices"),
        pytest.param(12008, 10, "graph captured", id="a graph that is there already keeps its pauses"),
        pytest.param(6076, 4, "sync removed", id="a device waits for no other by chance"),
        pytest.param(15082, 4, "sync removed", id="nor because another thread told a stream to wait"),
        pytest.param(15153, 4, "sync removed", id="nor because a stream of a third device was told to"),
        pytest.param(19138, 4, "graph captured", id="a launch that the recording lost is in the graph"),
        pytest.param(19062, 4, "graph captured", id="where its own process launched it"),
        pytest.param(21194, 4, "graph captured", id="and where no mark tells its step"),
        pytest.param(19176, 4, "graph captured", id="a graph of two devices is launched once"),
        pytest.param(20011, 8, "graph captured", id="pauses in graphs are their own"),
        pytest.param(19157, 4, "graph captured", id="what a stream was told to wait for is one thing"),
        pytest.param(23199, 4, "graph captured", id="a wait that nothing held up is for what was launched last"),
        pytest.param(23124, 4, "graph captured", id="and for nothing that nobody launched"),
        pytest.param(29114, 8, "graph captured", id="what nobody launched was no later than what is behind it"),
        pytest.param(26106, 8, "graph captured", id="an order that is put right often"),
        pytest.param(24151, 8, "graph captured", id="a thread that only copies is waited for"),
        pytest.param(27007, 8, "graph captured", id="copies that get there late have not paused"),
        pytest.param(19141, 4, "graph captured", id="a late copy of pageable memory waited for no other stream"),
    ],
)
def test_what_was_mistaken_once(tmp_path: Path, seed: int, scale: int, kind: str) -> None:
    hidden = GRANTED if kind == LAUNCHED else DRAWN
    assert max(one.error for one in outcomes(seed, [kind], tmp_path / "trace.json", scale, hidden)) < 0.05


def test_fused_kernels_and_deferred_waits(tmp_path: Path) -> None:
    programs = [seed for seed in range(50) if is_plain(simulator.random_program(seed))]
    assert len(programs) > 25
    found = [one for seed in programs for one in outcomes(seed, sorted(PLAIN), tmp_path / "trace.json")]
    assert max(one.error for one in found) < 0.05
