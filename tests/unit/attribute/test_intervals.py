"""Interval arithmetic against the same done one moment at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from perfkit.attribute.intervals import Nest, Union, sort_by_start, spread

Spans = list[tuple[int, int]]

spans = st.lists(
    st.tuples(st.integers(-20, 60), st.integers(0, 15)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=25
)
moments = st.lists(st.integers(-30, 90), max_size=12).map(lambda times: np.array(times, np.int64))


def arrays(intervals: Spans) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends, by start."""
    ordered = sorted(intervals, key=lambda span: span[0])
    table = np.array(ordered, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


@given(spans, moments)
def test_union(intervals: Spans, times: np.ndarray) -> None:
    start, end = arrays(intervals)
    union = Union.of(start, end)
    points = {moment for low, high in intervals for moment in range(low, high)}
    assert union.total == len(points)
    assert union.covered(times).tolist() == [sum(point < time for point in points) for time in times]
    assert union.within(-5, 40) == sum(-5 <= point < 40 for point in points)
    assert {point for low, high in zip(union.start, union.end, strict=True) for point in range(low, high)} == points
    assert (union.start[1:] >= union.end[:-1]).all()
    assert union.start.tolist() == start[union.first].tolist()


def test_union_keeps_apart_what_only_touches_and_what_has_no_length() -> None:
    start, end = np.array([0, 5, 7, 7, 20]), np.array([5, 7, 7, 9, 20])
    union = Union.of(start, end)
    assert union.start.tolist() == [0, 5, 7, 7, 20]
    assert union.end.tolist() == [5, 7, 7, 9, 20]
    assert Union.of(np.array([0, 3]), np.array([5, 3])).end.tolist() == [5]


def test_union_of_nothing() -> None:
    union = Union.of(np.empty(0, np.int64), np.empty(0, np.int64))
    assert (union.total, union.within(0, 9), union.covered(np.array([1, 2])).tolist()) == (0, 0, [0, 0])


@st.composite
def nested(draw: st.DrawFn) -> Spans:
    """Intervals of which any two are apart or one inside the other."""
    found: Spans = []
    open_spans = [(0, 64)]
    while open_spans:
        low, high = open_spans.pop()
        if high - low < 2 or len(found) > 30:
            continue
        found.append((low, high))
        middle = draw(st.integers(low, high))
        if draw(st.booleans()):
            open_spans += [(low, middle), (middle, high)]
    return draw(st.permutations(found))


def holds(span: tuple[int, int], time: int) -> bool:
    return span[0] <= time < span[1]


@given(nested(), moments)
def test_the_innermost_of_nested_intervals(intervals: Spans, times: np.ndarray) -> None:
    table = np.array(intervals, np.int64).reshape(-1, 2)
    found = Nest(table[:, 0], table[:, 1]).innermost(times)
    for time, at in zip(times.tolist(), found.tolist(), strict=True):
        lengths = [high - low for low, high in intervals if low <= time < high]
        if at < 0:
            assert not lengths
        else:
            assert holds(intervals[at], time)
            assert intervals[at][1] - intervals[at][0] == min(lengths)


@given(spans, moments)
def test_intervals_that_do_not_nest_still_give_one_that_holds_the_moment(intervals: Spans, times: np.ndarray) -> None:
    table = np.array(intervals, np.int64).reshape(-1, 2)
    for time, at in zip(times.tolist(), Nest(table[:, 0], table[:, 1]).innermost(times).tolist(), strict=True):
        assert at < 0 or holds(intervals[at], time)


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-2, 2)), max_size=30))
def test_sort_by_start(pairs: list[tuple[int, int]]) -> None:
    table = np.array(pairs, np.int64).reshape(-1, 2)
    order = sort_by_start(table[:, 0], table[:, 1]).tolist()
    assert order == sorted(range(len(pairs)), key=lambda at: pairs[at])


@given(spans)
def test_spread(intervals: Spans) -> None:
    table = np.array(intervals, np.int64).reshape(-1, 2)
    assert spread(table[:, 0], table[:, 1]).tolist() == [at for low, high in intervals for at in range(low, high)]
