"""What a replay makes of a finding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from perfkit.advise import advise
from perfkit.model.attribution import Copy
from perfkit.model.prediction import OverlapLoader, Prediction, RemoveSync, ScaleBatch
from perfkit.model.signs import Signs, Width, Work
from perfkit.model.table import Table
from tests.diagnoses import MS, attribution, timeline

if TYPE_CHECKING:
    from perfkit.model.attribution import Attribution
    from perfkit.model.prediction import Predict, WhatIf

WINDOW = 1000 * MS
LOADING = attribution(timeline({"compute": 700 * MS}, {"data_loading": 300 * MS}, steps=4))
WAITING = attribution(timeline({"compute": 900 * MS}, {"synchronization": 100 * MS}, steps=4))
LAUNCHING = attribution(timeline({"compute": 600 * MS}, {"operator_dispatch": 300 * MS, "python": 100 * MS}, steps=4))


def replay(saving_ms: int, *, doubt_ms: int = 10, matched: int = 5, fidelity: float = 0.99) -> Predict:
    """A replay that answers the same whatever it is asked."""

    def predict(*what_if: WhatIf, timeline: str = "") -> Prediction:
        left = WINDOW - saving_ms * MS
        return Prediction(
            what_if, timeline, (matched,), WINDOW, WINDOW, left, left - doubt_ms * MS, left + doubt_ms * MS,
            (), (), (), fidelity, ("workers keep up",),
        )  # fmt: skip

    return predict


def priced(of: Attribution, predict: Predict, rule: str) -> Any:
    return next((row for row in advise(of, predict=predict).findings if row.rule == rule), None)


def test_a_finding_is_worth_what_the_replay_saves_with_its_interval_and_what_it_assumes() -> None:
    found = priced(LOADING, replay(200), "PK101")
    assert (found.saving_low_ns, found.saving_ns, found.saving_high_ns) == (190 * MS, 200 * MS, 210 * MS)
    assert found.share == 0.3
    assert found.evidence[-1] == "Replayed without it: 20.0 % less, 19.0 % to 21.0 %."
    assert (found.replayed_ns, found.assumptions) == (200 * MS, ("Workers keep up.",))
    assert found.what_if == (OverlapLoader(),)


def test_no_more_is_saved_than_the_fault_takes_but_where_the_host_is_let_go() -> None:
    assert priced(LOADING, replay(400), "PK101").saving_ns == 300 * MS
    found = priced(WAITING, replay(400), "PK201")
    assert (found.saving_ns, found.what_if) == (400 * MS, (RemoveSync(),))


def test_what_a_replay_has_no_events_for_is_no_command_to_run() -> None:
    found = priced(LOADING, replay(200, matched=0), "PK101")
    assert (found.what_if, found.command, found.saving_ns) == ((), "", 300 * MS)
    assert priced(LOADING, replay(200), "PK101").command


def test_copies_within_a_device_are_worth_no_more_than_they_take() -> None:
    line = timeline({"compute": 900 * MS, "exposed_copy": 100 * MS}, steps=4)
    within, pinned = Copy("Memcpy DtoD", 9, 80 * MS, 0, 0.0), Copy("Memcpy HtoD (Pinned)", 9, 20 * MS, 0, 0.0)
    assert priced(attribution(line, copies=[within, pinned]), replay(400), "PK102").saving_ns == 100 * MS
    from_host = attribution(line, copies=[within._replace(device_ns=10 * MS), pinned])
    assert priced(from_host, replay(400), "PK102").saving_ns == 400 * MS


def test_a_graph_takes_the_python_between_launches_off_the_path_too() -> None:
    assert priced(LAUNCHING, replay(700), "PK301").saving_ns == 400 * MS


def test_a_wait_that_costs_nothing_is_no_finding() -> None:
    assert priced(WAITING, replay(9), "PK201") is None
    assert priced(WAITING, replay(-50), "PK201") is None


@pytest.mark.parametrize("predict", [replay(20, matched=0), replay(20, fidelity=0.9), lambda *_, **__: None])
def test_where_the_replay_cannot_tell_the_bound_stays(predict: Predict) -> None:
    assert priced(WAITING, predict, "PK201").saving_ns == 100 * MS


def test_of_a_larger_batch_an_item_counts() -> None:
    line = timeline({"compute": 900 * MS}, {"no_request": 100 * MS}, steps=4)
    width = Width(line.id, 108, 8, 900 * MS, 850 * MS, 4, 500 * MS, 0, (), 0, 0)
    signs = Signs(widths=Table([width]), works=Table([Work(line.id, True, 0, 0, 0, 0)]))
    found = priced(attribution(line, signs=signs), replay(-400), "PK401")
    assert found.saving_ns == 300 * MS
    assert found.what_if == (ScaleBatch(2.0),)


def test_the_ranking_is_that_of_what_is_saved() -> None:
    both = attribution(
        timeline({"compute": 500 * MS}, {"data_loading": 300 * MS, "synchronization": 200 * MS}, steps=4)
    )

    def predict(*what_if: WhatIf, timeline: str = "") -> Prediction | None:
        return replay(50 if isinstance(what_if[0], OverlapLoader) else 150)(*what_if, timeline=timeline)

    assert [row.rule for row in advise(both, predict=predict).findings] == ["PK201", "PK101"]


@pytest.mark.parametrize(
    ("of", "rule", "command"),
    [
        (LOADING, "PK101", "perfkit what-if 'a b.json' --overlap loader"),
        (WAITING, "PK201", "perfkit what-if 'a b.json' --remove sync"),
        (LAUNCHING, "PK301", "perfkit what-if 'a b.json' --capture '*'"),
        (LAUNCHING, "PK304", "perfkit what-if 'a b.json' --remove python"),
    ],
)
def test_the_command_that_tests_a_finding(of: Attribution, rule: str, command: str) -> None:
    assert next(row.command for row in advise(of, path="a b.json").findings if row.rule == rule) == command
    assert "what-if TRACE " in next(row.command for row in advise(of).findings if row.rule == rule)
