"""Rotary position embedding: pairs of elements turned, halves or neighbours, with real or complex factors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import torch

from perfkit.fix.operations.form import Form, Pattern, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.fix.regions import Region

__all__ = ["PATTERNS"]

HOSTILE: Final = (0.0, 1e4, math.nan, math.inf)


def _forms(region: Region) -> Iterator[Form]:
    from perfkit_kernels.rope import turn, turned

    found = rows(region)
    shape, dtype = region.output.meta["form"][0], region.output.meta["form"][2]
    if not found or not shape or shape[-1] % 2:
        return
    x = region.inputs.index(found[0])
    others = [at for at in range(len(region.inputs)) if at != x]
    kinds = [region.inputs[at].meta["form"] for at in others]
    whole = len(others) == 1 and kinds[0][2].is_complex
    if not whole and (len(others) != 2 or any(form[0][-1:] not in {shape[-1:], (shape[-1] // 2,)} for form in kinds)):  # noqa: PLR2004
        return
    for interleaved in (True, False):
        for order in [others] if whole else [others, others[::-1]]:

            def angles(given: Any, order: Any = order, interleaved: Any = interleaved) -> Any:
                parts = torch.view_as_real(given[order[0]]).unbind(-1) if whole else [given[at] for at in order]
                cos, sin = (_for_each(part, shape[-1], interleaved=interleaved) for part in parts)
                return cos, sin

            def plain(*given: Any, angles: Any = angles, interleaved: bool = interleaved) -> tuple[torch.Tensor, ...]:
                cos, sin = angles(given)
                y = turned(given[x], cos, sin, interleaved)
                return (y if given[x].dtype == torch.float64 else y.to(dtype),)

            def kernel(*given: Any, angles: Any = angles, interleaved: bool = interleaved) -> tuple[torch.Tensor, ...]:
                cos, sin = angles(given)
                return (turn(given[x], cos, sin, interleaved).to(dtype),)

            title = f"rotary embedding of {'neighbours' if interleaved else 'halves'}"
            yield Form("rope", title, plain, kernel=("rope", kernel), hostile=HOSTILE)


def _for_each(part: torch.Tensor, width: int, *, interleaved: bool) -> torch.Tensor:
    """Return a factor for each element, where there is one for each pair."""
    if part.shape[-1] == width:
        return part
    return part.repeat_interleave(2, -1) if interleaved else torch.cat((part, part), -1)


PATTERNS: Final = (Pattern("rope", ("cat", "concat", "stack", "on_a_copy", "view_as_complex"), 3, _forms),)
