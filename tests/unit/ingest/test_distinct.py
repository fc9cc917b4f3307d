"""Distinct values and rows, against what Python's own sets and sorting say."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from perfkit.ingest.distinct import distinct, distinct_rows

values = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-2, 2))


@given(st.lists(values))
def test_values(column: list[int]) -> None:
    found, number = distinct(np.array(column, np.int64))
    assert found.tolist() == sorted(set(column))
    assert found[number].tolist() == column


@given(st.integers(1, 4).flatmap(lambda width: st.lists(st.tuples(*[values] * width), min_size=1)))
def test_rows(rows: list[tuple[int, ...]]) -> None:
    columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)]
    found, number = distinct_rows(columns)
    assert list(zip(*(column.tolist() for column in found), strict=True)) == sorted(set(rows))
    assert list(zip(*(column[number].tolist() for column in found), strict=True)) == rows


def test_no_rows() -> None:
    found, number = distinct_rows([np.empty(0, np.int64)] * 2)
    assert [column.tolist() for column in found] == [[], []]
    assert number.tolist() == []
