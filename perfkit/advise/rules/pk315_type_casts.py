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

from perfkit.advise.loss import quote
from perfkit.advise.rule import Rule
from perfkit.advise.saving import Saving, timelines
from perfkit.model.quantity import count, duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution
    from perfkit.model.signs import Transfer

__all__ = ["RULE"]

KINDS: Final = ("type",)
MOST_NAMED: Final = 2


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find copies of this kind on the timeline that loses most to them."""
    found = []
    for timeline in timelines(attribution):
        rows = [row for row in attribution.signs.transfers if row.timeline == timeline.id and row.kind in KINDS]
        time, idle = sum(row.time_ns for row in rows), sum(row.idle_ns for row in rows)
        saving = Saving(attribution, timeline, time + idle, 0.7 * time, 0.9 * time + idle / 2, time + idle)
        if saving.matters:
            found.append((saving, rows))
    if not found:
        return
    saving, rows = max(found, key=lambda pair: pair[0].ns)
    yield saving.finding(
        RULE.code,
        RULE.title,
        where=rows[0].where or rows[0].module or rows[0].operator,
        evidence=tuple(describe(row) for row in rows[:MOST_NAMED]),
        fix="Cast once, outside of the loop, and keep weights in the type that they are used in.",
        safety="check",
    )


def describe(row: Transfer) -> str:
    """Say what was copied, and where."""
    place = f" in {quote(row.where or row.module)}" if row.where or row.module else ""
    return f"{quote(row.operator)}{place}: {count(row.calls, 'copy', 'copies')}, {duration(row.time_ns)}."


RULE = Rule(
    code="PK315",
    name="type-casts",
    title="Data is cast to another type again and again",
    symptom="casts data to another type",
    thread_symptom="casts data to another type",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
