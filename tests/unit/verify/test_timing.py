"""Timings in turns, on a clock that the functions themselves move."""

from __future__ import annotations

import random
import time

import pytest

pytest.importorskip("numpy")

from perfkit.verify import timing


class Clock:
    """Time passes when work is done, and nowhere else; the machine slows down all the while."""

    def __init__(self) -> None:
        self.now, self.random = 0, random.Random(0)

    def work(self, ns: int) -> None:
        self.now += round(ns * (1 + self.now / 1e9) * self.random.uniform(0.9, 1.1))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "perf_counter_ns", lambda: made.now)
    return made


def test_the_ratio_survives_a_machine_that_slows_down(clock: Clock) -> None:
    measured = timing.measure(lambda: clock.work(60_000), lambda: clock.work(50_000), device="cpu")
    assert measured.low < 1.2 < measured.high
    assert measured.low == pytest.approx(1.2, rel=0.05)
    assert measured.high == pytest.approx(1.2, rel=0.05)
    assert timing.FEWEST_ROUNDS <= measured.rounds <= timing.ROUNDS


def test_the_same_twice_is_not_faster(clock: Clock) -> None:
    measured = timing.measure(lambda: clock.work(40_000), lambda: clock.work(40_000), device="cpu")
    assert measured.low < 1.0 < measured.high


def test_slow_functions_are_not_timed_for_long(clock: Clock) -> None:
    measured = timing.measure(lambda: clock.work(10**9), lambda: clock.work(10**9), device="cpu")
    assert measured.rounds == timing.FEWEST_ROUNDS


def test_times_do_not_deny_the_ratio_on_a_machine_that_is_slow_at_times(clock: Clock) -> None:
    calls = 0

    def work(ns: int) -> None:
        nonlocal calls
        calls += 1
        clock.now += ns * (2 if calls % 84 > 42 else 1)  # slow in half of the rounds, from the middle of one on

    measured = timing.measure(lambda: work(1_300_000), lambda: work(1_100_000), device="cpu")
    assert (measured.base_ns, measured.candidate_ns) == (1_300_000, 1_100_000)
    assert measured.speedup == pytest.approx(1.3 / 1.1)


def test_one_outlier_does_not_move_the_interval() -> None:
    low, high = timing.interval([1.0] * 20 + [50.0])
    assert (low, high) == (1.0, 1.0)
