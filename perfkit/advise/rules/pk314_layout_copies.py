"""PK314 layout-copies: data is moved only to lie in another order.

What it does:
    Counts copies that `contiguous` or `reshape` made because a tensor did
    not lie in memory as the next operator wants it, kernels by which a
    library brings images from one layout into the other, and clones.

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

TITLE: Final = "Data is copied only to change its layout"
LAYOUT: Final = "Keep one layout from end to end; for convolutions `memory_format=torch.channels_last`."
WORDS: Final = {
    "layout": (TITLE, LAYOUT),
    "library": (TITLE, LAYOUT),
    "copy": (
        "Data is copied as it is",
        "Clone only what is written to afterwards; write results into place (`out=`, `copy_`, in-place operators).",
    ),
}


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find copies of this kind."""
    yield from find_transfers(attribution, RULE.code, WORDS)


RULE = Rule(
    code="PK314",
    name="layout-copies",
    title=TITLE,
    symptom="moves data about in memory",
    thread_symptom="moves data about in memory",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
