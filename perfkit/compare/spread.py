"""How far a difference of means can be trusted: the interval of Welch.

Welch, B. L. (1947), The generalization of `Student's' problem when several different population variances are involved,
Biometrika 34, 28-35, with Satterthwaite's degrees of freedom.
"""

from __future__ import annotations

import math
from statistics import variance
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["half_width"]

# Student's quantiles for 1 to 30 degrees of freedom, any table has them: scipy would take longer to import than the
# rest takes to run. Degrees are rounded down, which widens the interval; the last quantile serves for more of them.
STUDENT_975: Final = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


def half_width(base: Sequence[float], head: Sequence[float]) -> float | None:
    """Return half the width of the 95 % interval of the difference of two means.

    Args:
        base: Samples of one side, taken to be independent.
        head: Samples of the other.

    Returns:
        In the unit of the samples; None where a side has fewer than two.
    """
    if min(len(base), len(head)) < 2:  # noqa: PLR2004  one sample has no spread
        return None
    parts = [(variance(side) / len(side), len(side) - 1) for side in (base, head)]
    total = sum(part for part, _ in parts)
    if not total:
        return 0.0
    freedom = total**2 / sum(part**2 / degrees for part, degrees in parts)
    # At least the smaller sample's degrees, but for a rounding error that must not cost one.
    at_most = min(int(freedom + 1e-9), len(STUDENT_975))
    return STUDENT_975[at_most - 1] * math.sqrt(total)
