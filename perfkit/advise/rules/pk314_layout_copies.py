"""PK314 layout-copies: data is moved only to lie in another order.

What it does:
    Counts copies that `contiguous`, `reshape` or `clone` made because a
    tensor did not lie in memory as the next operator wants it, and kernels
    by which a library brings images from one layout into the other.

Why it is slow:
    A copy reads and writes all of the data and computes nothing. Transposed
    and permuted tensors are free until an operator wants them contiguous.
    Convolutions on tensor cores want channels last; given channels first,
    the library converts before and after each.

Example:
    x = x.permute(0, 2, 1).contiguous()     # a copy of all of it
    y = layer(x)

Fix:
    Make the data in the layout that is wanted: keep dimensions in one order
    from end to end, swap once outside of the loop, or give `einsum`, `matmul`
    or attention the strided view. For convolutions:
    `model.to(memory_format=torch.channels_last)`, and the images likewise.

Fix safety:
    Check. Values do not change; code that relies on a tensor being
    contiguous might.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.rule import Rule
from perfkit.advise.transfers import find_transfers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution

__all__ = ["RULE"]

KINDS: Final = ("layout", "library")
FIX: Final = "Keep one layout from end to end; for convolutions `memory_format=torch.channels_last`."


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find copies of this kind."""
    yield from find_transfers(attribution, KINDS, code=RULE.code, title=RULE.title, fix=FIX)


RULE = Rule(
    code="PK314",
    name="layout-copies",
    title="Data is copied only to change its layout",
    symptom="copies data to change its layout",
    thread_symptom="copies data to change its layout",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
