"""Which input shapes operators were called with."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.model.columns import MISSING_SMALL
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from perfkit.model.trace import Trace

__all__ = ["flops_of", "operator_shapes"]

SHAPELESS: Final = frozenset("[], ")
"""The characters of an input list in which no tensor has a dimension."""
MOST_CHARACTERS: Final = 1_000
ADDED_TO: Final = ("addmm", "baddbmm")
"""Products whose first input is what they are added to."""


def operator_shapes(trace: Trace) -> dict[str, dict[str, int]]:
    """Count the calls of each operator by the shapes of its inputs, over the whole recording.

    Args:
        trace: A trace with the column ``shapes``; without it, or where shapes were not recorded, there are none.

    Returns:
        Operator to shapes (JSON text without spaces) to calls.
    """
    if "shapes" not in trace.columns:
        return {}
    rows = trace.rows(Category.OPERATOR)
    shapes = trace.columns["shapes"][rows]
    known = shapes != MISSING_SMALL
    pairs = np.stack((trace.columns["name"][rows][known], shapes[known]), axis=1)
    distinct, calls = np.unique(pairs, axis=0, return_counts=True)
    found: dict[str, dict[str, int]] = {}
    for (name, shape), count in zip(distinct.tolist(), calls.tolist(), strict=True):
        text = "".join(trace.strings[shape].split())[:MOST_CHARACTERS]
        if set(text) - SHAPELESS:
            of_name = found.setdefault(trace.strings[name], {})
            of_name[text] = of_name.get(text, 0) + count
    return found


def flops_of(name: str, shapes: str) -> float:
    """Return the operations of a product of matrices, or of batches of them, two for each multiplication.

    Args:
        name: Of the operator.
        shapes: Its inputs' shapes, as JSON text.

    Returns:
        The number; 0 where the shapes are none of two matrices.
    """
    first = 1 if name.endswith(ADDED_TO) else 0
    try:
        left, right = ([int(size) for size in dims] for dims in json.loads(shapes)[first : first + 2])
        batch = max(math.prod(left[:-2]), math.prod(right[:-2]))
        return max(float(2 * batch * left[-2] * left[-1] * right[-1]), 0.0) if right[-2] == left[-1] else 0.0
    except (ValueError, TypeError, IndexError, KeyError, OverflowError):
        return 0.0
