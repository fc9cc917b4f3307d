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

KINDS: Final = ("layout", "library")
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
        fix="Keep one layout from end to end; for convolutions `memory_format=torch.channels_last`.",
        safety="check",
    )


def describe(row: Transfer) -> str:
    """Say what was copied, and where."""
    place = f" in {quote(row.where or row.module)}" if row.where or row.module else ""
    return f"{quote(row.operator)}{place}: {count(row.calls, 'copy', 'copies')}, {duration(row.time_ns)}."


RULE = Rule(
    code="PK314",
    name="layout-copies",
    title="Data is copied only to change its layout",
    symptom="copies data to change its layout",
    thread_symptom="copies data to change its layout",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
