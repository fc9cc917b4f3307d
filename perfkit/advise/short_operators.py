"""Stretches of a host thread in which operators are too short to be worth their call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.loss import quote
from perfkit.advise.saving import Saving, timelines
from perfkit.model.quantity import count, duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution, Timeline
    from perfkit.model.signs import Stretch

__all__ = ["calling", "reading"]

MANY: Final = 0.3
"""Part of the operators of a stretch that read a number, from which on it is a stretch of reading."""
LEAST_WORK, USUAL_WORK, MOST_WORK = 0.05, 0.18, 0.34
"""Part of a stretch that is left when it is a few operators, which is what they compute, in programs of the gallery."""


def reading(attribution: Attribution, code: str) -> Iterator[Finding]:
    """Find numbers that are read out of tensors one by one."""
    for timeline, some in stretches(attribution):
        readers = [row for row in some if row.reads >= MANY * row.operators]
        yield from find(
            attribution,
            timeline,
            readers,
            code,
            "Numbers are read out of tensors one by one",
            "Compute with whole tensors and read the result once, or `.tolist()` a tensor as a whole.",
        )


def calling(attribution: Attribution, code: str) -> Iterator[Finding]:
    """Find operators that are too short to be worth their call."""
    for timeline, some in stretches(attribution):
        others = [row for row in some if row.reads < MANY * row.operators]
        yield from find(
            attribution,
            timeline,
            others,
            code,
            "Many operators are too small to matter",
            "Do it by fewer, larger operators (one batched product, a built-in layer), or `torch.compile` the loop.",
        )


def stretches(attribution: Attribution) -> Iterator[tuple[Timeline, list[Stretch]]]:
    """Yield each timeline with its stretches of short operators."""
    for timeline in timelines(attribution):
        some = [
            row for row in attribution.signs.stretches if row.timeline == timeline.id and row.kind == "short_operators"
        ]
        if some:
            yield timeline, some


def find(
    attribution: Attribution, timeline: Timeline, rows: list[Stretch], code: str, title: str, fix: str
) -> Iterator[Finding]:
    """Make the finding of some stretches."""
    ns = sum(row.ns for row in rows)
    saving = Saving(attribution, timeline, ns, (1 - MOST_WORK) * ns, (1 - USUAL_WORK) * ns, (1 - LEAST_WORK) * ns)
    if not rows or not saving.matters:
        return
    operators, own = sum(row.operators for row in rows), sum(row.operator_ns for row in rows)
    names = ", ".join(quote(name) for name in rows[0].names)
    yield saving.finding(
        code,
        title,
        where=rows[0].where or rows[0].names[0],
        evidence=(
            f"{count(operators, 'operator')} of {duration(own / operators)} each, and "
            f"{duration((ns - own) / operators)} of Python before the next: mostly {names}.",
        ),
        fix=fix,
        safety="check",
        records=sum(row.records for row in rows),
    )
