"""Draws of delays that did not show: from those that did, and now and then from what nobody has seen yet."""

from __future__ import annotations

import numpy as np
import pytest

from perfkit.simulate.delays import CLASSES, LANES, UNSEEN, Seen

FEW, MANY = 3, 400


def seen(queue: int) -> Seen:
    """As many delays in the queues of kernels, one in ten of them of 90 us, and none of anything else."""
    none = np.empty(0, np.int64)
    shown = np.where(np.arange(queue) % 10 == 9, 90_000, 1_000)
    queues = (shown, none, none, none)
    return Seen(np.zeros(5, np.int32), (none,) * CLASSES, queues, queues)


def test_the_first_lane_takes_everything_for_usual() -> None:
    draws = seen(MANY).draws(100)
    assert draws.values.shape[0] == LANES
    assert set(draws.values[0, draws.queue[0]]) == {1_000}
    assert set(draws.values[0, draws.latency[0]]) == {5_000}


def test_what_was_seen_is_drawn_as_often_as_it_was_seen() -> None:
    drawn = seen(MANY).draws(100).values[1:, CLASSES]
    assert (drawn == 90_000).mean() == pytest.approx(0.1, abs=0.02)


def test_what_was_never_seen_is_drawn_more_often_where_less_was_seen() -> None:
    drawn = {count: seen(count).draws(100).values[1:, CLASSES] for count in (FEW, MANY)}
    share = {count: np.isin(some, (1_000, 90_000)).mean() for count, some in drawn.items()}
    assert 0.85 < share[FEW] < 0.95
    assert share[MANY] > 0.99
    assert seen(FEW).draws(100).values.max() <= UNSEEN * 1_500


def test_where_a_class_shows_few_only_what_is_missing_is_taken_from_the_others() -> None:
    none, kernels, copies = np.empty(0, np.int64), np.full(MANY, 90_000), np.full(FEW, 700)
    queue = (kernels, copies, none, none)
    drawn = seen(MANY)._replace(queue=queue, likely=queue).draws(100).values[1:]
    shares = [(drawn[:, table] == 700).mean() for table in range(CLASSES, CLASSES + 3)]
    assert shares[0] == 0
    assert shares[1] == pytest.approx((FEW + 1) / 10, abs=0.06)  # of eight, one more that is usual, and one unseen
    assert shares[2] < shares[1] / 2


def test_of_a_large_graph_there_are_fewer_lanes() -> None:
    assert seen(MANY).draws(10**7).values.shape[0] < seen(MANY).draws(10**5).values.shape[0] < LANES
