"""The luck of one draw decides nothing."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from perfkit.verify.numerics import DRAWS, agree_over  # noqa: E402

ULP = 2.0**-22


@pytest.mark.parametrize(("factor", "right", "draws"), [(1.0, True, DRAWS), (8.0, False, DRAWS), (1.0, False, 1)])
def test_where_rounding_favours_what_is_replaced_several_draws_count(factor: float, right: bool, draws: int) -> None:
    asked = []

    def draw(seed: int) -> list[tuple[Any, ...]]:
        asked.append(seed)
        exact = torch.ones(4)
        return [(exact + factor * ULP, exact + ULP * bool(seed), exact.double(), 0.0)]

    (answer,) = agree_over(draw, draws)
    assert answer.right == right
    assert asked == list(range(draws))


def test_what_is_right_at_once_is_drawn_once() -> None:
    exact = torch.ones(4)
    assert agree_over(lambda seed: [(exact, exact + 1.0 / (1 - seed), exact.double(), 0.0)])[0].right


def test_an_infinity_is_no_luck() -> None:
    exact = torch.ones(4)
    (answer,) = agree_over(lambda seed: [(exact / seed, exact, exact.double(), 0.0)])
    assert not answer.right
