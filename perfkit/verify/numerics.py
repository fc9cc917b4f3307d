"""Whether two implementations agree: the error of each against float64 is what counts, not their distance.

An implementation is right where its error is at most twice that of the one it replaces, plus one unit in the last place
of the largest value. So it may round elsewhere than the other does, and may not be worse; and where the other is exact,
it has to be nearly so. Wherever one has NaN or an infinity, the other has to have the same.

The error of a few values is luck. So what fails for one draw of the arguments has to hold for several together.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    Compared = tuple[torch.Tensor, torch.Tensor, torch.Tensor, float]

__all__ = ["DRAWS", "FACTOR", "Agreement", "agree", "agree_over"]

FACTOR: Final = 2.0
"""How many times the error of what it replaces a replacement may have."""
ENOUGH: Final = 32
"""Values of which a mean says something."""


DRAWS: Final = 16
"""Draws of the arguments that count together where one does not do."""


class Agreement(NamedTuple):
    """How a replacement compares.

    Attributes:
        right: Whether it may replace the other.
        reason: Why not, in a few words; empty where it may.
        error: Its largest error against float64, as a part of the largest exact value.
        replaced_error: That of the implementation that it replaces.
    """

    right: bool
    reason: str
    error: float
    replaced_error: float


def agree(
    candidate: torch.Tensor,
    replaced: torch.Tensor,
    exact: torch.Tensor,
    *,
    factor: float = FACTOR,
    magnitude: float = 0.0,
) -> Agreement:
    """Compare a replacement with what it replaces.

    Args:
        candidate: What the replacement computes.
        replaced: What the present implementation computes of the same arguments.
        exact: The same computed in float64 of those arguments, in any dtype that holds it.
        factor: How many times the present error is allowed.
        magnitude: Size of the terms that were summed, where they may cancel: their last place is lost to anybody.
    """
    import torch

    if candidate.shape != replaced.shape or candidate.dtype != replaced.dtype:
        reason = f"gives {_form(candidate)} where {_form(replaced)} is expected"
        return Agreement(right=False, reason=reason, error=float("inf"), replaced_error=0.0)
    if not candidate.numel():
        return Agreement(right=True, reason="", error=0.0, replaced_error=0.0)
    mine, theirs, truth = (tensor.detach().double() for tensor in (candidate, replaced, exact))
    finite = torch.isfinite(theirs)
    if not torch.equal(torch.nan_to_num(mine[~finite]), torch.nan_to_num(theirs[~finite])) or not torch.equal(
        torch.isnan(mine), torch.isnan(theirs)
    ):
        return Agreement(right=False, reason="other NaN or infinities", error=float("inf"), replaced_error=0.0)
    finite &= torch.isfinite(truth)
    mine, theirs, truth = mine[finite], theirs[finite], truth[finite]
    if not len(truth):
        return Agreement(right=True, reason="", error=0.0, replaced_error=0.0)
    scale = float(truth.abs().max())
    unit = torch.finfo(candidate.dtype).eps if candidate.dtype.is_floating_point else 0.0
    floor = unit * max(scale, magnitude) + torch.finfo(torch.float32).tiny
    errors = [(mine - truth).abs(), (theirs - truth).abs()]
    worst, allowed = float(errors[0].max()), factor * float(errors[1].max()) + floor
    mean, allowed_mean = float(errors[0].mean()), factor * float(errors[1].mean()) + floor / 2
    relative = [float(error.max()) / (scale or 1.0) for error in errors]
    reason = ""
    if not worst <= allowed:
        reason = f"errs by up to {worst:.2g} where {allowed:.2g} is allowed"
    elif len(truth) >= ENOUGH and not mean <= allowed_mean:
        reason = f"errs by {mean:.2g} on average where {allowed_mean:.2g} is allowed"
    return Agreement(right=not reason, reason=reason, error=relative[0], replaced_error=relative[1])


def agree_over(draw: Callable[[int], Sequence[Compared]], draws: int = DRAWS) -> list[Agreement]:
    """Compare each result for one draw of the arguments; where one of them is not right, for several draws together.

    Args:
        draw: Computes for the arguments of a seed what `agree` compares of each result, and its magnitude.
        draws: How many count together.
    """
    import torch

    first = draw(0)
    answers = [agree(*one[:3], magnitude=one[3]) for one in first]
    if draws == 1 or all(answer.right or math.isinf(answer.error) for answer in answers):  # other NaN are no luck
        return answers
    rows = zip(first, *map(draw, range(1, draws)), strict=True)
    sides = [[*zip(*row, strict=True)] for row in rows]
    return [agree(*map(torch.stack, side[:3]), magnitude=max(side[3])) for side in sides]


def _form(tensor: torch.Tensor) -> str:
    """Name dtype and shape."""
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
