"""PK315 type-casts: tensors are cast to another type in every step.

What it does:
    Counts copies that `to`, `float`, `half` or `type_as` made because a
    tensor had another type than was asked for. What comes from or goes to
    the host is not counted.

Why it is slow:
    A cast reads and writes all of the data and computes nothing. Weights
    that are stored in one type and used in another are cast in every step,
    though they are the same each time.

Example:
    def forward(self, x):
        return F.linear(x, self.weight.float())     # weight is stored as half

Fix:
    Cast once, when the model is made: `model.to(torch.bfloat16)`, or store
    what is used. In a loop, cast before it. For `autocast`, leave its cache
    of weights on, and keep it around the whole forward pass.

Fix safety:
    Check. A model that is stored in a smaller type rounds its weights.
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

TITLE: Final = "Data is cast to another type again and again"
WORDS: Final = {"type": (TITLE, "Cast once, outside of the loop, and keep weights in the type that they are used in.")}


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find copies of this kind."""
    yield from find_transfers(attribution, RULE.code, WORDS)


RULE = Rule(
    code="PK315",
    name="type-casts",
    title=TITLE,
    symptom="casts data to another type",
    thread_symptom="casts data to another type",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
