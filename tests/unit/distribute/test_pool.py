"""Tasks in processes of their own: results, failures and deaths."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from perfkit.distribute.capacity import processes
from perfkit.distribute.outcome import Lost
from perfkit.distribute.pool import in_processes


def halve(number: int) -> int:
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    if number % 2:
        message = f"{number} is odd"
        raise ValueError(message)
    return number // 2


@pytest.fixture(params=["loky", "multiprocessing"], autouse=True)
def _library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take processes from the library of our choice, and where that is not installed."""
    if request.param == "multiprocessing":
        monkeypatch.setitem(sys.modules, "loky", None)


def test_results_and_failures_each_in_their_place() -> None:
    found = {outcome.place: outcome.result for outcome in in_processes(halve, [2, 4, 5, 8], 2)}
    assert found == {0: 1, 1: 2, 2: Lost("ValueError: 5 is odd"), 3: 4}


def test_a_process_that_dies_takes_only_its_own_task_with_it() -> None:
    found = {outcome.place: outcome.result for outcome in in_processes(halve, [2, 7, 4, 6, 8, 10], 2)}
    lost = found.pop(1)
    assert isinstance(lost, Lost)
    assert "died" in lost.reason
    assert found == {0: 1, 2: 2, 3: 3, 4: 4, 5: 5}


def test_as_many_processes_as_fit() -> None:
    assert processes([1 << 60] * 8) == 1
    assert processes([1] * 8, most=3) == 3
    assert processes([], most=3) == 1
