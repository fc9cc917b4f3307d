"""Which distinct values a column has, and which of them each row has: quick where they are few, as in traces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = ["distinct", "distinct_rows"]


def distinct(values: Ints) -> tuple[Ints, Ints]:
    """Return the distinct values in ascending order, and the number of each value among them."""
    found = np.unique(values)
    # The inverse that np.unique gives costs a sort of places; looking up among few values does not.
    return found, np.searchsorted(found, values)


def distinct_rows(columns: Sequence[Ints]) -> tuple[list[Ints], Ints]:
    """Return the distinct rows of columns of one length in ascending order, and the number of each row among them."""
    found, code = distinct(columns[0])
    for column in columns[1:]:
        values, number = distinct(column)
        # Renumbered each time, so that the product stays below the square of the number of rows.
        found, code = distinct(code * len(values) + number)
    place = np.zeros(len(found), np.int64)
    place[code] = np.arange(len(code))  # of equal rows, any
    return [column[place] for column in columns], code
